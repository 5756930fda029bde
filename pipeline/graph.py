"""The pipeline as plain frozen data: what checking, drawing and running all read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import msgspec

from penstock.connectors import Endpoint
from penstock.errors import Where
from penstock.stages.function import MISSING
from penstock.stages.helper import Helper, stage_of, updating
from penstock.stages.outcome import Retries

Order = Literal["key", "partition", "none"]
By = str | tuple[str, ...] | Callable[..., Any] | None


class Function(msgspec.Struct, frozen=True):
    """A user's function, wired: what it is given and how it is called.

    `takes` names what it gets from the scope after the payload, `absent` the parameters that keep their defaults
    because nothing before adds such a name. `kind` is how calling it yields results; `many` marks a function of lists
    (`batched`), which gets at most `max` at once. `timeout` and `cache` are seconds.
    """

    target: Callable[..., Any]
    name: str
    kind: Literal["plain", "coroutine", "generator", "async generator"]
    takes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    timeout: float | None = None
    default: Any = MISSING
    cache: float | None = None
    thread: bool = False
    many: bool = False
    max: int = 64
    retry: Retries | None = None

    @property
    def inline(self) -> bool:
        """Whether it can be called in place: nothing to wait for, no option that needs more than a call."""
        return (
            self.kind in ("plain", "generator")
            and not self.thread
            and not self.many
            and self.cache is None
            and self.default is MISSING
        )


class Node(msgspec.Struct, frozen=True):
    """One stage: its number, its name, the stages it consumes, the user's line, and what flows out of it.

    `payload` is the type of what it emits, `scope` the names that functions after it may ask for, with their types.
    """

    kind: ClassVar[str] = "node"

    id: int
    stage: str
    inputs: tuple[int, ...]
    where: Where
    payload: Any = Any
    scope: Mapping[str, Any] = msgspec.field(default_factory=dict)
    retry: Retries | None = None

    @property
    def called(self) -> str:
        """What logs, letters and metrics call it: its name, or its kind and number where it can have none."""
        return self.stage or f"{self.kind} {self.id}"


class Source(Node, frozen=True):
    """Where events come in: all `endpoints` feed one stream of `schema`.

    Where it is the far side of a `through`, `forward` is the number of the near side.
    """

    kind: ClassVar[str] = "source"
    endpoints: tuple[Endpoint, ...] = ()
    schema: Any = Any
    key: By = None
    identity: By = None
    time: str | None = None
    decode: Callable[[bytes], Any] | None = None
    repeats: Literal["once", "counted"] = "once"
    forward: int | None = None


class Transform(Node, frozen=True):
    """Each payload into another, or with a generator function into any number."""

    kind: ClassVar[str] = "transform"
    function: Function | None = None


class Filter(Node, frozen=True):
    """Also one side of a `split`: `negate` marks the other side, which shares its predicate through `twin`."""

    kind: ClassVar[str] = "filter"
    function: Function | None = None
    twin: int | None = None
    negate: bool = False


class Of(Node, frozen=True):
    """The events of one type of a union."""

    kind: ClassVar[str] = "of"
    type: Any = object


class Enrich(Node, frozen=True):
    """What is found about an event, by name; all items of one node are found at the same time."""

    kind: ClassVar[str] = "enrich"
    items: tuple[tuple[str, Function | Helper[Any]], ...] = ()


class Dedupe(Enrich, frozen=True):
    """Drops events that a source has brought before. Its one item says so; no function can ask for it."""

    kind: ClassVar[str] = "dedupe"


class Infer(Node, frozen=True):
    """A model's prediction under `name`, from what `features` returns. `deadline` is in seconds."""

    kind: ClassVar[str] = "infer"
    model: str = ""
    features: Function | None = None
    features_type: Any = Any
    name: str = "prediction"
    fallback: Function | None = None
    deadline: float | None = None
    challenger: str | None = None
    share: float = 0.0
    shadow: str | None = None
    many: bool = False


class Act(Node, frozen=True):
    """A decision: what `function` returns goes to every endpoint of `to`.

    `once` is for how many seconds an action is kept, to be sent again as it was; None where it is not.
    """

    kind: ClassVar[str] = "act"
    function: Function | None = None
    to: tuple[Endpoint, ...] = ()
    key: By = None
    once: float | None = None


class Forward(Act, frozen=True):
    """The near side of a `through`: every event goes to its topic under the new key, as what it is."""

    kind: ClassVar[str] = "through"


class Merge(Node, frozen=True):
    """One stream of the events of several."""

    kind: ClassVar[str] = "merge"


class End(Node, frozen=True):
    """The end of a stream that is kept for what its stages do."""

    kind: ClassVar[str] = "end"


class Graph(msgspec.Struct, frozen=True):
    """A checked pipeline. Nodes stand in the order of their declaration, so inputs come before what consumes them."""

    name: str
    nodes: tuple[Node, ...]
    order: Order = "key"
    concurrency: int = 256
    latency_budget: float | None = None
    retry: Retries = msgspec.field(default_factory=Retries)
    record: Endpoint | None = None
    resources: Mapping[str, Callable[[], Any]] = msgspec.field(default_factory=dict)
    where: Where = msgspec.field(default_factory=lambda: Where("", 0))

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def node(self, number: int) -> Node:
        return self.nodes[number]

    def retries(self, number: int, part: str = "") -> Retries:
        """How a stage is tried again: as it says itself, else as its function says, else as the pipeline does.

        `part` names the function of a stage that has several: what an enrich adds, `features`, `fallback`.
        """
        node = self.nodes[number]
        if isinstance(node, Enrich):
            own = getattr(dict(node.items).get(part), "retry", None)
        else:
            own = node.retry or getattr(getattr(node, part or "function", None), "retry", None)
        return own or self.retry

    def consumers(self, number: int) -> tuple[Node, ...]:
        """The stages that consume what this one emits."""
        return tuple(node for node in self.nodes if number in node.inputs)

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Source))

    @property
    def acts(self) -> tuple[Act, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Act))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model the pipeline asks for, once."""
        wanted = [
            ref
            for node in self.nodes
            if isinstance(node, Infer)
            for ref in (node.model, node.challenger, node.shadow)
            if ref
        ]
        return tuple(dict.fromkeys(wanted))

    @property
    def helpers(self) -> tuple[Helper[Any], ...]:
        return tuple(
            item
            for node in self.nodes
            if isinstance(node, Enrich)
            for _, item in node.items
            if not isinstance(item, Function)
        )

    @property
    def updating(self) -> Mapping[str, Helper[Any]]:
        """The helpers that change state, by the names of their stages."""
        enriched = (item for node in self.nodes if isinstance(node, Enrich) for item in node.items)
        return {stage_of(name, item): item for name, item in enriched if updating(item)}
