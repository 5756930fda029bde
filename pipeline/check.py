"""Checking a declaration: drafts in, a frozen graph out, every mistake named with the user's line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, cast, get_args

from penstock.connectors import Endpoint, Event
from penstock.connectors.duration import seconds
from penstock.connectors.template import names as braces
from penstock.errors import DeclarationError
from penstock.pipeline import annotations
from penstock.pipeline.annotations import label
from penstock.pipeline.declaration import Draft, Pipeline
from penstock.pipeline.graph import Act, By, End, Enrich, Filter, Function, Graph, Infer, Merge, Node, Of, Order, Source, Transform, Where
from penstock.pipeline.wiring import wire
from penstock.stages.function import Batched, Call
from penstock.stages.helper import Helper
from penstock.stages.outcome import Retries

EVENT = "event"


def check(pipeline: Pipeline) -> Graph:
    """The pipeline as a graph. Raises `DeclarationError` at the first mistake, in the order of the user's lines."""
    return _Checker(pipeline).graph()


class _Checker:
    """One pass over the drafts: each becomes a node that knows its payload's type and its scope."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.nodes: list[Node] = []
        self.stages: dict[str, Where] = {}
        self.resources = self._resources()

    def graph(self) -> Graph:
        pipeline = self.pipeline
        self._settings()
        for number, draft in enumerate(pipeline.drafts):
            build: Callable[[int, Draft], Node] = getattr(self, f"_{draft.kind}")
            self.nodes.append(build(number, draft))
        if not any(isinstance(node, Source) for node in self.nodes):
            fail(pipeline.where, f"pipeline {pipeline.name!r} has no source: begin with .source(...)")
        self._leaves()
        self._replies()
        return Graph(
            pipeline.name,
            tuple(self.nodes),
            order=pipeline.order,
            concurrency=pipeline.concurrency,
            latency_budget=self._budget(),
            retry=pipeline.retry,
            record=pipeline.record,
            resources=dict(pipeline.resources),
            where=pipeline.where,
        )

    # -- the pipeline itself -------------------------------------------------------------------------------------

    def _settings(self) -> None:
        pipeline, where = self.pipeline, self.pipeline.where
        if not pipeline.name or not all(letter.isalnum() or letter in "._-" for letter in pipeline.name):
            fail(where, f"{pipeline.name!r} is no pipeline name: use letters, digits, '.', '_' and '-'")
        if pipeline.order not in get_args(Order):
            fail(where, f'order is {pipeline.order!r}: it is "key", "partition" or "none"')
        if not isinstance(pipeline.concurrency, int) or pipeline.concurrency < 1:
            fail(where, f"concurrency is {pipeline.concurrency!r}: it is the number of events in flight, at least 1")
        if not isinstance(pipeline.retry, Retries):
            fail(where, f"retry is {pipeline.retry!r}: write Retries(attempts=3, first='100ms', longest='10s')")
        if pipeline.record is not None:
            self._endpoint(pipeline.record, where)

    def _budget(self) -> float | None:
        return self._seconds(self.pipeline.latency_budget, self.pipeline.where, "latency_budget")

    def _resources(self) -> dict[str, Any]:
        for name, opener in self.pipeline.resources.items():
            if not callable(opener):
                fail(self.pipeline.where, f"resource {name} is {opener!r}: give a function that returns an async context manager")
            if name == EVENT:
                fail(self.pipeline.where, f"resource {name}: the name {EVENT!r} is taken by the event itself")
        return dict.fromkeys(self.pipeline.resources, Any)

    def _leaves(self) -> None:
        consumed = {number for node in self.nodes for number in node.inputs}
        for node in self.nodes:
            if node.id in consumed or isinstance(node, Act | End):
                continue
            what = f"the {node.kind} {node.stage!r}" if node.stage else f"this {node.kind}"
            fail(node.where, f"the stream of {what} leads nowhere: add .act(..., to=...), or .end() if it is kept for its state alone")

    def _replies(self) -> None:
        """One reply per path, and an HTTP source to answer."""
        seen: dict[tuple[str, str], Source] = {}
        for source in (node for node in self.nodes if isinstance(node, Source)):
            for endpoint in source.endpoints:
                mark = (type(endpoint).__name__, endpoint.address)
                if mark in seen:
                    fail(source.where, f"{endpoint.address} is already a source of this pipeline ({seen[mark].where}): two sources on one path")
                seen[mark] = source
        replying: dict[int, Act] = {}
        for act in (node for node in self.nodes if isinstance(node, Act)):
            if not any(_replies(endpoint) for endpoint in act.to):
                continue
            origins = self._origins(act.id)
            if not any(_waited(endpoint) for origin in origins for endpoint in cast(Source, self.nodes[origin]).endpoints):
                fail(act.where, f"{act.stage!r} acts to Reply(), but no Http source leads to it: nobody waits for the answer")
            for origin in origins:
                if origin in replying:
                    fail(act.where, f"{act.stage!r} is a second reply on one path; the first is {replying[origin].stage!r} ({replying[origin].where})")
                replying[origin] = act

    def _origins(self, number: int) -> set[int]:
        node = self.nodes[number]
        return {number} if isinstance(node, Source) else {origin for one in node.inputs for origin in self._origins(one)}

    # -- the stages ----------------------------------------------------------------------------------------------

    def _source(self, number: int, draft: Draft) -> Node:
        given, where = draft.given, draft.where
        if not given["at"]:
            fail(where, "this source has no endpoint: name at least one, for example Kafka('payments')")
        for endpoint in given["at"]:
            self._endpoint(endpoint, where)
        schema = given["schema"]
        stage = self._named(draft, draft.stage or "+".join(endpoint.address.partition(":")[2] for endpoint in given["at"]))
        for name in ("key", "id"):
            self._by(given[name], schema, where, f"{name}=")
        if given["time"] is not None:
            self._field(given["time"], schema, where, "time=")
        for endpoint in given["at"]:
            for name in braces(endpoint.address):
                self._field(name, schema, where, endpoint.address)
        if given["repeats"] not in ("once", "counted"):
            fail(where, f'repeats is {given["repeats"]!r}: it is "once" or "counted"')
        return Source(
            number,
            stage,
            (),
            where,
            payload=schema,
            scope=dict(self.resources),
            endpoints=given["at"],
            schema=schema,
            key=given["key"],
            identity=given["id"],
            time=given["time"],
            decode=given["decode"],
            repeats=given["repeats"],
        )

    def _transform(self, number: int, draft: Draft) -> Node:
        payload, scope = self._before(draft)
        stage = self._named(draft, draft.stage or name_of(draft.given["f"], draft.where))
        function, result = self._wire(draft.given["f"], stage, payload, scope, draft.where)
        if result is type(None):
            fail(draft.where, f"transform {stage!r} returns None: to drop events use .filter(...), or yield the ones to keep")
        return Transform(number, stage, draft.inputs, draft.where, result, scope, self._retry(draft), function)

    def _filter(self, number: int, draft: Draft) -> Node:
        payload, scope = self._before(draft)
        twin = draft.given.get("twin")
        if twin is not None:
            yes = cast(Filter, self.nodes[twin])
            return Filter(number, yes.stage, draft.inputs, draft.where, payload, scope, None, yes.function, twin, negate=True)
        stage = self._named(draft, draft.stage or name_of(draft.given["f"], draft.where))
        function, result = self._wire(draft.given["f"], stage, payload, scope, draft.where)
        if "generator" in function.kind:
            fail(draft.where, f"filter {stage!r} is a generator function: return True or False, or use .transform(...) to yield")
        narrowed = _narrowed(draft.given["f"])
        if narrowed is None and not annotations.fits(result, bool):
            fail(draft.where, f"filter {stage!r} returns {label(result)}: it says which events to keep, so it returns bool")
        return Filter(number, stage, draft.inputs, draft.where, payload if narrowed is None else narrowed, scope, None, function)

    def _of(self, number: int, draft: Draft) -> Node:
        payload, scope = self._before(draft)
        kind = draft.given["type"]
        if not isinstance(kind, type):
            fail(draft.where, f".of({kind!r}) takes one type of the stream's union")
        if not any(annotations.fits(kind, member) or annotations.fits(member, kind) for member in annotations.members(payload)):
            fail(draft.where, f".of({label(kind)}) never holds: the stream carries {label(payload)}")
        return Of(number, "", draft.inputs, draft.where, kind, scope, None, kind)

    def _enrich(self, number: int, draft: Draft) -> Node:
        payload, before = self._before(draft)
        names: Mapping[str, Any] = draft.given["names"]
        if not names:
            fail(draft.where, "this enrich adds nothing: name what it finds, for example profile=lookup('card:{card}', Profile)")
        scope, items = dict(before), []
        for name, item in names.items():
            self._new_name(name, before, draft.where)
            if isinstance(item, Helper):
                for path in item.fields:
                    self._field(path, payload, draft.where, f"{name}=")
                scope[name] = item.answer
                items.append((name, item))
            else:
                function, result = self._wire(item, name, payload, before, draft.where)
                if "generator" in function.kind:
                    fail(draft.where, f"{name}= is a generator function: an enrichment is one value, so return it")
                scope[name] = result
                items.append((name, function))
        stage = self._named(draft, "enrich(" + ",".join(names) + ")")
        return Enrich(number, stage, draft.inputs, draft.where, payload, scope, None, tuple(items))

    def _infer(self, number: int, draft: Draft) -> Node:
        from penstock.models.prediction import Prediction

        given, where = draft.given, draft.where
        payload, before = self._before(draft)
        for ref in (given["ref"], given["challenger"], given["shadow"]):
            if ref is not None and (not isinstance(ref, str) or ref.count("@") != 1 or not all(ref.split("@"))):
                fail(where, f"{ref!r} names no model: write name@alias, for example 'card-fraud@champion'")
        if not 0.0 <= given["share"] <= 1.0:
            fail(where, f"share is {given['share']}: it is a share of the keys, from 0 to 1")
        if given["share"] and given["challenger"] is None:
            fail(where, "share= says how many keys the challenger gets: name it with challenger='name@alias'")
        self._new_name(given["name"], before, where)
        stage = self._named(draft, draft.stage or given["ref"])
        features = fallback = None
        features_type: Any = payload
        if given["features"] is not None:
            features, features_type = self._wire(given["features"], f"{stage} features", payload, before, where)
            if "generator" in features.kind:
                fail(where, f"the features of {stage!r} are a generator function: return one row, or a list of rows with many=True")
        if given["fallback"] is not None:
            fallback, _ = self._wire(given["fallback"], f"{stage} fallback", payload, before, where)
            if fallback.kind != "plain":
                fail(where, f"the fallback of {stage!r} is not a plain function: it answers when there is no time to wait")
        scope = {**before, given["name"]: list[Prediction] if given["many"] else Prediction}
        return Infer(
            number,
            stage,
            draft.inputs,
            where,
            payload,
            scope,
            model=given["ref"],
            features=features,
            features_type=features_type,
            name=given["name"],
            fallback=fallback,
            deadline=self._seconds(given["deadline"], where, "deadline"),
            challenger=given["challenger"],
            share=given["share"],
            shadow=given["shadow"],
            many=given["many"],
        )

    def _act(self, number: int, draft: Draft) -> Node:
        payload, scope = self._before(draft)
        where = draft.where
        stage = self._named(draft, draft.stage or name_of(draft.given["f"], where))
        function, result = self._wire(draft.given["f"], stage, payload, scope, where)
        if "generator" in function.kind:
            fail(where, f"act {stage!r} is a generator function: return a payload, an Action, a list of them, or None")
        if not draft.given["to"]:
            fail(where, f"act {stage!r} goes nowhere: name an endpoint with to=")
        results = [kind for kind in annotations.members(result) if kind is not type(None)]
        for endpoint in draft.given["to"]:
            self._endpoint(endpoint, where)
            for name in braces(endpoint.address):
                if not any(_has(kind, name) for kind in (*results, payload)):
                    fail(where, f"{endpoint.address}: neither {' nor '.join(label(kind) for kind in (*results, payload))} has a field {name!r}")
        key = draft.given["key"]
        if isinstance(key, str | tuple) and not any(_has_all(kind, key) for kind in (*results, payload)):
            self._by(key, payload, where, "key=")
        return Act(number, stage, draft.inputs, where, payload, scope, self._retry(draft), function, draft.given["to"], key)

    def _merge(self, number: int, draft: Draft) -> Node:
        if draft.given["foreign"]:
            fail(draft.where, "merge() joins streams of different pipelines: an event belongs to one pipeline")
        inputs = [self.nodes[one] for one in draft.inputs]
        payload = inputs[0].payload
        for node in inputs[1:]:
            if node.payload != payload:
                payload = _union(payload, node.payload)
        first, *others = [node.scope for node in inputs]
        scope = {name: kind for name, kind in first.items() if all(name in other and other[name] == kind for other in others)}
        return Merge(number, "", tuple(dict.fromkeys(draft.inputs)), draft.where, payload, scope)

    def _end(self, number: int, draft: Draft) -> Node:
        payload, scope = self._before(draft)
        return End(number, "", draft.inputs, draft.where, payload, scope)

    # -- what they share -----------------------------------------------------------------------------------------

    def _before(self, draft: Draft) -> tuple[Any, Mapping[str, Any]]:
        node = self.nodes[draft.inputs[0]]
        return node.payload, node.scope

    def _named(self, draft: Draft, stage: str) -> str:
        """A stage's unique name. Actions, state and dead letters carry it."""
        if draft.kind == "enrich":
            if stage in self.stages:
                stage = f"{stage}#{sum(name.startswith(stage) for name in self.stages) + 1}"
        elif stage in self.stages:
            fail(draft.where, f"stage {stage!r} is already at {self.stages[stage]}: give this one its own name with stage='...'")
        self.stages[stage] = draft.where
        return stage

    def _retry(self, draft: Draft) -> Retries | None:
        retry = draft.given.get("retry")
        if retry is not None and not isinstance(retry, Retries):
            fail(draft.where, f"retry is {retry!r}: write Retries(attempts=3, first='100ms', longest='10s')")
        if retry is None and isinstance(draft.given.get("f"), Call):
            retry = cast("Call[Any, Any]", draft.given["f"]).retry
        return retry

    def _wire(self, f: Any, stage: str, payload: Any, scope: Mapping[str, Any], where: Where) -> tuple[Function, Any]:
        try:
            return wire(f, stage, payload, {**scope, EVENT: Event})
        except DeclarationError as error:
            fail(where, str(error))

    def _new_name(self, name: str, scope: Mapping[str, Any], where: Where) -> None:
        if name == EVENT or name in scope:
            fail(where, f"the name {name!r} is taken before this stage: choose another, for example {name}2")
        if not name.isidentifier() or name.startswith("_"):
            fail(where, f"{name!r} cannot be a parameter's name: choose a plain word")

    def _endpoint(self, endpoint: Any, where: Where) -> None:
        if not isinstance(endpoint, Endpoint):
            fail(where, f"{endpoint!r} is not an endpoint: write for example Kafka('payments')")

    def _seconds(self, duration: Any, where: Where, what: str) -> float | None:
        if duration is None:
            return None
        try:
            return seconds(duration)
        except ValueError as error:
            fail(where, f"{what}: {error}")

    def _by(self, by: By, payload: Any, where: Where, what: str) -> None:
        for path in (by,) if isinstance(by, str) else by if isinstance(by, tuple) else ():
            self._field(path, payload, where, what)

    def _field(self, path: str, payload: Any, where: Where, what: str) -> None:
        try:
            annotations.field_type(payload, path)
        except KeyError as error:
            known: set[str] = set()
            for member in annotations.members(payload):
                known |= set(annotations.fields(member) or ())
            fail(where, f"{what} {label(payload)} has no field {error.args[0]!r}{hint(error.args[0], known)}")


def fail(where: Where, message: str) -> NoReturn:
    """Raise a `DeclarationError` that begins with the user's file and line."""
    raise DeclarationError(f"{where}: {message}")


def hint(name: str, known: Iterable[str]) -> str:
    """What was probably meant, as the end of a sentence."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f"; it has {', '.join(names)}" if names else ""


def name_of(f: Any, where: Where) -> str:
    """A function's own name, which names its stage. A lambda has none."""
    target = f.function if isinstance(f, Call | Batched) else f
    name = getattr(target, "__name__", "")
    if not name or name == "<lambda>":
        fail(where, "a lambda or partial has no name of its own: give the stage one with stage='...'")
    return str(name)


def _replies(endpoint: Endpoint) -> bool:
    return endpoint.address == "reply"


def _waited(endpoint: Endpoint) -> bool:
    return endpoint.address.startswith(("http:", "memory:"))


def _has(kind: Any, path: str) -> bool:
    try:
        annotations.field_type(kind, path)
    except KeyError:
        return False
    return True


def _has_all(kind: Any, by: str | tuple[str, ...]) -> bool:
    return all(_has(kind, path) for path in ((by,) if isinstance(by, str) else by))


def _narrowed(f: Any) -> Any:
    """The type a `TypeIs` or `TypeGuard` predicate narrows to; None for an ordinary predicate."""
    found = (annotations.hints(f) or {}).get("return")
    name = getattr(getattr(found, "__origin__", None), "__name__", "") or getattr(getattr(found, "__origin__", None), "_name", "")
    return get_args(found)[0] if name in ("TypeIs", "TypeGuard") else None


def _union(one: Any, other: Any) -> Any:
    try:
        return one | other
    except TypeError:
        return Any

