"""From each call of the declaration to a node of the graph: payload types, scopes, wired functions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from penstock.connectors import Event
from penstock.errors import DeclarationError, Where
from penstock.pipeline.declaration import inference
from penstock.pipeline.declaration.annotations import admits_none, either, fits, has, label, members
from penstock.pipeline.declaration.callables import narrowed
from penstock.pipeline.declaration.dedupe import dedupe_of
from penstock.pipeline.declaration.endpoints import (
    acted,
    check_captures,
    check_endpoint,
    check_filled,
    check_targets,
    horizon,
)
from penstock.pipeline.declaration.names import EVENT, Names, check_name
from penstock.pipeline.declaration.paths import check_free
from penstock.pipeline.declaration.payloads import check_by, check_field, check_schema, check_time
from penstock.pipeline.declaration.through import check_through
from penstock.pipeline.declaration.updating import check_updating
from penstock.pipeline.declaration.wiring import Given, name_of, wire
from penstock.pipeline.graph import (
    Act,
    Dedupe,
    End,
    Enrich,
    Filter,
    Forward,
    Function,
    Infer,
    Merge,
    Node,
    Of,
    Source,
    Transform,
)
from penstock.stages.function import Batched, Call, inner
from penstock.stages.helper import Helper, stage_of, updating
from penstock.stages.outcome import Retries

if TYPE_CHECKING:
    from penstock.pipeline.declaration.pipeline import Draft

DROPS = "to drop events use .filter(...), or yield the ones to keep"


class Drafts:
    """One pass over the drafts: each becomes a node that knows its payload's type and its scope."""

    def __init__(self, drafts: Sequence[Draft], resources: Mapping[str, tuple[Any, Where]]) -> None:
        self.drafts = drafts
        self.resources = resources
        self.made: list[Node] = []
        self.names = Names(drafts, self.made, resources)
        self.stages: dict[str, Where] = {}

    def nodes(self) -> list[Node]:
        """All nodes, in the order of their declaration. Raises `DeclarationError` at the first mistake."""
        for number, draft in enumerate(self.drafts):
            self.made.append(_Maker(self, number, draft).node())
        return self.made


class _Maker:
    """One draft, with what its node is made from."""

    def __init__(self, whole: Drafts, number: int, draft: Draft) -> None:
        self.whole = whole
        self.number = number
        self.draft = draft
        self.given = draft.given
        self.where = draft.where
        before = whole.made[draft.inputs[0]] if draft.inputs else None
        self.payload: Any = before.payload if before else None
        self.scope: Mapping[str, Any] = before.scope if before else {}

    def node(self) -> Node:
        node: Node = getattr(self, f"_{self.draft.kind}")()
        return node

    def fail(self, message: str) -> NoReturn:
        raise DeclarationError(message, self.where)

    # -- the kinds of stages -------------------------------------------------------------------------------------

    def _source(self) -> Node:
        given, where, schema = self.given, self.where, self.given["schema"]
        if not given["at"]:
            self.fail("this source has no endpoint: name at least one, for example Kafka('payments')")
        for endpoint in given["at"]:
            check_endpoint(endpoint, where, "source")
        check_schema(schema, given["decode"], where)
        stage = self.draft.stage or "+".join(endpoint.address.partition(":")[2] for endpoint in given["at"])
        for name in ("key", "id"):
            check_by(given[name], schema, where, f"{name}=")
        if given["time"] is not None:
            check_time(given["time"], schema, where)
        for endpoint in given["at"]:
            check_captures(endpoint, schema, where)
        if given["repeats"] not in ("once", "counted"):
            self.fail(f'repeats is {given["repeats"]!r}: it is "once" or "counted"')
        return Source(
            self.number,
            self._named(stage),
            (),
            where,
            payload=schema,
            scope={name: kind for name, (kind, _) in self.whole.resources.items()},
            endpoints=given["at"],
            schema=schema,
            key=given["key"],
            identity=given["id"],
            time=given["time"],
            decode=given["decode"],
            repeats=given["repeats"],
        )

    def _dedupe(self) -> Node:
        source = self.whole.made[self.draft.inputs[0]]
        assert isinstance(source, Source)
        item = dedupe_of(source.endpoints, self.where)
        stage = self._named(f"dedupe({source.stage})")
        return Dedupe(self.number, stage, self.draft.inputs, self.where, self.payload, self.scope, items=(item,))

    def _transform(self) -> Node:
        stage = self._named(self._stage())
        function, result = self._wire(self.given["f"], stage)
        if result is type(None) or result is None:
            self.fail(f"transform {stage!r} returns None: {DROPS}")
        if function.kind in ("plain", "coroutine") and admits_none(result):
            self.fail(f"transform {stage!r} may return None ({label(result)}): {DROPS}")
        return Transform(self.number, stage, self.draft.inputs, self.where, result, self.scope, self._retry(), function)

    def _filter(self) -> Node:
        twin = self.given.get("twin")
        if twin is not None:
            yes = self.whole.made[twin]
            assert isinstance(yes, Filter)
            return Filter(
                self.number,
                yes.stage,
                self.draft.inputs,
                self.where,
                self.payload,
                self.scope,
                None,
                yes.function,
                twin,
                True,
            )
        stage = self._named(self._stage())
        function, result = self._wire(self.given["f"], stage)
        if "generator" in function.kind:
            self.fail(f"{stage!r} is a generator function: return True or False, or .transform(...) to yield")
        kept = narrowed(inner(self.given["f"]))
        if kept is None and not fits(result, bool):
            self.fail(f"{stage!r} returns {label(result)}: it says which events to keep, so it returns bool")
        payload = self.payload if kept is None or self.given.get("split") else kept
        return Filter(self.number, stage, self.draft.inputs, self.where, payload, self.scope, None, function)

    def _of(self) -> Node:
        kind = self.given["type"]
        if not isinstance(kind, type) or kind is type(None):
            self.fail(f".of({label(kind)}) takes one class, of those that the stream carries: {label(self.payload)}")
        if not any(fits(kind, member) or fits(member, kind) for member in members(self.payload)):
            self.fail(f".of({label(kind)}) never holds: the stream carries {label(self.payload)}")
        return Of(self.number, "", self.draft.inputs, self.where, kind, self.scope, None, kind)

    def _enrich(self) -> Node:
        names: Mapping[str, Any] = self.given["names"]
        if not names:
            self.fail(
                "this enrich adds nothing: name what it finds, for example profile=lookup('card:{card}', Profile)"
            )
        scope, items = dict(self.scope), []
        for name, item in names.items():
            self._check_new(name)
            made: Function | Helper[Any] = item
            if isinstance(item, Helper) and not isinstance(item, type):
                for path in item.fields:
                    check_field(path, self.payload, self.where, f"{name}=")
                if updating(item):
                    check_updating(name, item, self.payload, self.where)
                    self._named(stage_of(name, item))
                scope[name] = item.answer
            else:
                made, scope[name] = self._wire(item, name)
                if "generator" in made.kind:
                    self.fail(f"{name}= is a generator function: an enrichment is one value, so return it")
                if scope[name] is type(None):
                    self.fail(f"{name}= returns None: it is there to return what it has found")
            items.append((name, made))
        stage = self._unique(f"enrich({','.join(names)})")
        return Enrich(self.number, stage, self.draft.inputs, self.where, self.payload, scope, None, tuple(items))

    def _infer(self) -> Node:
        given = self.given
        answer = inference.check(given, self.where)
        self._check_new(given["name"])
        stage = self._named(self.draft.stage or given["ref"])
        features = fallback = None
        features_type: Any = self.payload
        if given["features"] is not None:
            features, features_type = self._wire(given["features"], f"{stage} features")
        inference.check_features(features, features_type, stage, self.where, many=given["many"])
        if given["fallback"] is not None:
            fallback, result = self._wire(given["fallback"], f"{stage} fallback")
            inference.check_fallback(given["fallback"], fallback, result, stage, self.where, many=given["many"])
        return Infer(
            self.number,
            stage,
            self.draft.inputs,
            self.where,
            self.payload,
            {**self.scope, given["name"]: answer},
            model=given["ref"],
            features=features,
            features_type=features_type,
            name=given["name"],
            fallback=fallback,
            deadline=inference.deadline(given, self.where),
            challenger=given["challenger"],
            share=given["share"],
            shadow=given["shadow"],
            many=given["many"],
        )

    def _act(self) -> Node:
        stage = self._named(self._stage())
        function, result = self._wire(self.given["f"], stage)
        if "generator" in function.kind:
            self.fail(f"act {stage!r} is a generator function: return a payload, an Action, a list of them, or None")
        to, kinds = (
            check_targets(self.given["to"], stage, self.where),
            tuple(dict.fromkeys((*acted(result), self.payload))),
        )
        for endpoint in to:
            check_filled(endpoint, kinds, self.where)
        key = self.given["key"]
        paths = (key,) if isinstance(key, str) else key if isinstance(key, tuple) else ()
        if not paths or not any(all(isinstance(path, str) and has(kind, path) for path in paths) for kind in kinds):
            check_by(key, Any if callable(key) else self.payload, self.where, "key=")
        return Act(
            self.number,
            stage,
            self.draft.inputs,
            self.where,
            self.payload,
            self.scope,
            self._retry(),
            function,
            to,
            key,
            horizon(self.given["once"], to, self.where),
        )

    def _forward(self) -> Node:
        topic = check_through(self.given["topic"], self.given["key"], self.payload, self.where)
        check_free(topic, self.whole.made, self.where)
        stage = self._named(f"through({self.draft.stage or topic.address.partition(':')[2]})")
        return Forward(
            self.number, stage, self.draft.inputs, self.where, self.payload, to=(topic,), key=self.given["key"]
        )

    def _through(self) -> Node:
        near = self.whole.made[self.given["forward"]]
        assert isinstance(near, Forward)
        return Source(
            self.number,
            self._named(near.stage.removeprefix("through(").removesuffix(")")),
            (),
            self.where,
            near.payload,
            {name: kind for name, (kind, _) in self.whole.resources.items()},
            endpoints=near.to,
            schema=near.payload,
            key=near.key,
            forward=near.id,
        )

    def _merge(self) -> Node:
        if self.given["foreign"]:
            self.fail("merge() joins streams of different pipelines: an event belongs to one pipeline")
        if len(set(self.draft.inputs)) < len(self.draft.inputs):
            self.fail("merge() is given one stream twice: each of its events would come once all the same")
        inputs = [self.whole.made[one] for one in self.draft.inputs]
        payload = functools.reduce(either, (node.payload for node in inputs))
        first, *others = (node.scope for node in inputs)
        shared = {
            name: kind for name, kind in first.items() if all(name in one and one[name] == kind for one in others)
        }
        return Merge(self.number, "", self.draft.inputs, self.where, payload, shared)

    def _end(self) -> Node:
        return End(self.number, "", self.draft.inputs, self.where, self.payload, self.scope)

    # -- what they share -----------------------------------------------------------------------------------------

    def _stage(self) -> str:
        """The stage's name: the given one, else the function's own."""
        if self.draft.stage:
            return self.draft.stage
        f = inner(self.given["f"])
        name = name_of(f)
        if not name:
            if not callable(f):
                self.fail(f"{self.draft.kind} is given {f!r}: give it a function")
            what = (
                "a lambda" if hasattr(f, "__name__") else "a partial" if hasattr(f, "func") else f"a {type(f).__name__}"
            )
            self.fail(f"{what} has no name that could name its stage: give it one with stage='...'")
        return name

    def _named(self, stage: Any) -> str:
        """A stage's unique name. Actions, state and dead letters carry it."""
        if not isinstance(stage, str):
            self.fail(f"stage= is {stage!r}: it is a name")
        if stage in self.whole.stages:
            self.fail(
                f"stage {stage!r} is there already, at {self.whole.stages[stage]}: name this one with stage='...'"
            )
        self.whole.stages[stage] = self.where
        return stage

    def _unique(self, stage: str) -> str:
        """An enrich has no name of its own: on another branch the same names are counted."""
        number = 2
        found = stage
        while found in self.whole.stages:
            found = f"{stage}#{number}"
            number += 1
        return self._named(found)

    def _retry(self) -> Retries | None:
        f, retry = self.given["f"], self.given.get("retry")
        if retry is None:
            return f.retry if isinstance(f, Call) else None
        if not isinstance(retry, Retries):
            self.fail(f"retry is {retry!r}: write Retries(attempts=3, first='100ms', longest='10s')")
        if isinstance(f, Call | Batched) and getattr(f, "retry", None) is not None:
            self.fail("retry= stands here and in call(...): one of them is enough")
        return retry

    def _wire(self, f: Any, stage: str) -> tuple[Function, Any]:
        explain = functools.partial(self.whole.names.explain, self.number)
        return wire(f, Given(stage, self.where, self.payload, {**self.scope, EVENT: Event}, explain))

    def _check_new(self, name: Any) -> None:
        check_name(name, self.scope, self.where, self.whole.names.adder(self.number, name))
