"""One call of the declaration on its way to a node: what is before it, what it is called, what its functions are."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from penstock.connectors import Event
from penstock.errors import DeclarationError, Where
from penstock.pipeline.declaration.names import EVENT, Names, check_name
from penstock.pipeline.declaration.wiring import Given, name_of, wire
from penstock.pipeline.graph import Function, Node
from penstock.stages.function import Batched, Call, inner
from penstock.stages.outcome import Retries

if TYPE_CHECKING:
    from penstock.pipeline.declaration.pipeline import Draft


class Making:
    """What the node of one draft is made from.

    - `made`: the nodes of the drafts before it; `payload` and `scope`: what flows out of the first of its inputs.
    - `resources`: the types of the pipeline's resources, by name: the scope with which a source begins.
    - `name`: the name that the user gave the stage, empty where there is none.

    Everything raises `DeclarationError` at the user's line.
    """

    def __init__(
        self,
        number: int,
        draft: Draft,
        made: Sequence[Node],
        names: Names,
        resources: Mapping[str, Any],
        stages: dict[str, Where],
    ) -> None:
        self.number = number
        self.kind = draft.kind
        self.inputs = draft.inputs
        self.where = draft.where
        self.name = draft.stage
        self.given = draft.given
        self.made = made
        self.resources = resources
        before = made[draft.inputs[0]] if draft.inputs else None
        self.payload: Any = before.payload if before else None
        self.scope: Mapping[str, Any] = before.scope if before else {}
        self._names = names
        self._stages = stages

    def fail(self, message: str) -> NoReturn:
        raise DeclarationError(message, self.where)

    def own_name(self) -> str:
        """The stage's name: the given one, else the function's own."""
        if self.name:
            return self.name
        f = inner(self.given["f"])
        name = name_of(f)
        if not name:
            if not callable(f):
                self.fail(f"{self.kind} is given {f!r}: give it a function")
            what = (
                "a lambda" if hasattr(f, "__name__") else "a partial" if hasattr(f, "func") else f"a {type(f).__name__}"
            )
            self.fail(f"{what} has no name that could name its stage: give it one with stage='...'")
        return name

    def named(self, stage: Any) -> str:
        """A stage's unique name. Actions, state and dead letters carry it."""
        if not isinstance(stage, str):
            self.fail(f"stage= is {stage!r}: it is a name")
        if stage in self._stages:
            self.fail(f"stage {stage!r} is there already, at {self._stages[stage]}: name this one with stage='...'")
        self._stages[stage] = self.where
        return stage

    def unique(self, stage: str) -> str:
        """An enrich has no name of its own: on another branch the same names are counted."""
        number = 2
        found = stage
        while found in self._stages:
            found = f"{stage}#{number}"
            number += 1
        return self.named(found)

    def retry(self) -> Retries | None:
        """The stage's own policy: the one beside its function, or that of `call`."""
        f, retry = self.given["f"], self.given.get("retry")
        if retry is None:
            return f.retry if isinstance(f, Call) else None
        if not isinstance(retry, Retries):
            self.fail(f"retry is {retry!r}: write Retries(attempts=3, first='100ms', longest='10s')")
        if isinstance(f, Call | Batched) and getattr(f, "retry", None) is not None:
            self.fail("retry= stands here and in call(...): one of them is enough")
        return retry

    def wire(self, f: Any, stage: str) -> tuple[Function, Any]:
        """A function of the stage as the engine calls it, and the type of what it returns."""
        explain = functools.partial(self._names.explain, self.number)
        return wire(f, Given(stage, self.where, self.payload, {**self.scope, EVENT: Event}, explain))

    def check_new(self, name: Any) -> None:
        """That the stage may add this name to the scope."""
        check_name(name, self.scope, self.where, self._names.adder(self.number, name))
