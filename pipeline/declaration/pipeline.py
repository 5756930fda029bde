"""What a user writes: a `Pipeline`, and `Stream`s that join its stages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

import msgspec
from typing_extensions import TypeForm, TypeIs

from penstock.connectors import Endpoint
from penstock.connectors.duration import D
from penstock.errors import DeclarationError, Where
from penstock.errors import caller as _caller
from penstock.pipeline.graph import By, Graph, Order
from penstock.stages.function import F
from penstock.stages.helper import Helper
from penstock.stages.outcome import Retries

if TYPE_CHECKING:
    from penstock.connectors import Kafka, Memory, Redis
    from penstock.models import Prediction

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
R = TypeVar("R")
P = ParamSpec("P")


class Draft(msgspec.Struct, frozen=True):
    """One call as the user made it, not checked yet."""

    kind: str
    inputs: tuple[int, ...]
    where: Where
    stage: str = ""
    given: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Pipeline:
    """A named graph of stages, from sources to actions.

    - `latency_budget`: how long a decision may take from receipt. It bounds waiting (defaults, fallbacks, replies),
      never retries or delivery.
    - `order`: events of one key in order (`"key"`, within a source partition), of one partition (`"partition"`), or
      as they come (`"none"`).
    - `concurrency`: how many events are in flight in one process.
    - `retry`: what happens to a stage function that raises.
    - `record`: an endpoint that gets every decision whole (payload, what enrichment found, prediction, action), for
      building datasets.

    >>> from penstock.connectors import Kafka
    >>> def shout(text: str) -> str: return text.upper()
    >>> words = Pipeline("words")
    >>> _ = words.source(Kafka("in"), schema=str).act(shout, to=Kafka("out"))
    >>> [node.stage for node in words.build()]
    ['in', 'shout']
    """

    def __init__(
        self,
        name: str,
        *,
        latency_budget: D | None = None,
        order: Order = "key",
        concurrency: int = 256,
        retry: Retries | None = None,
        record: Endpoint | None = None,
    ) -> None:
        self.name = name
        self.latency_budget = latency_budget
        self.order: Order = order
        self.concurrency = concurrency
        self.retry = Retries() if retry is None else retry
        self.record = record
        self.where = caller()
        self.drafts: list[Draft] = []
        self.resources: list[tuple[str, Callable[[], AbstractAsyncContextManager[Any]], Where]] = []

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r})"

    def source(
        self,
        *at: Endpoint,
        schema: TypeForm[T],
        key: By = None,
        id: By = None,
        time: str | None = None,
        decode: Callable[[bytes], T] | None = None,
        repeats: Literal["once", "counted"] = "once",
        stage: str = "",
    ) -> Stream[T]:
        """Where events come in. Several endpoints feed one stream.

        - `schema`: the payload's type; bytes that do not fit it become dead letters, or are refused to their sender.
        - `key`, `id`: a field, a tuple of fields or a function of the payload: the order key; the event's identity.
        - `time`: the field that says when it happened, in seconds since the epoch.
        - `decode`: bytes to payload, in place of JSON.
        - `repeats`: what repeats of events without identity may do to state: `"counted"` accepts that they count.
        """
        given = {"at": at, "schema": schema, "key": key, "id": id, "time": time, "decode": decode, "repeats": repeats}
        source = self._add(Draft("source", (), caller(), stage, given))
        if any(getattr(endpoint, "dedupe", None) is not None for endpoint in at):
            return self._add(Draft("dedupe", (source.draft,), caller()))
        return source

    def resource(self, **names: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        """Clients that are opened once per process and given to functions by name.

        Each value is called with nothing and returns an async context manager; what entering it yields is injected.
        """
        where = caller()
        self.resources += [(name, opener, where) for name, opener in names.items()]

    def build(self) -> Graph:
        """Check the declaration and return it as frozen data. Raises `DeclarationError` with the user's line."""
        from penstock.pipeline.declaration.check import check

        return check(self)

    def _add(self, draft: Draft) -> Stream[Any]:
        self.drafts.append(draft)
        return Stream(self, len(self.drafts) - 1)


class Stream(Generic[T_co]):
    """What a stage emits and the next consumes. Using a stream twice is fan-out: both get every event."""

    __slots__ = ("draft", "pipeline")

    def __init__(self, pipeline: Pipeline, draft: int) -> None:
        self.pipeline = pipeline
        self.draft = draft

    def __repr__(self) -> str:
        return f"Stream({self.pipeline.name!r}, {self.pipeline.drafts[self.draft].kind})"

    @overload
    def transform(
        self, f: Callable[Concatenate[T_co, ...], Awaitable[U]], *, stage: str = "", retry: Retries | None = None
    ) -> Stream[U]: ...
    @overload
    def transform(
        self, f: Callable[Concatenate[T_co, ...], Iterator[U]], *, stage: str = "", retry: Retries | None = None
    ) -> Stream[U]: ...
    @overload
    def transform(
        self, f: Callable[Concatenate[T_co, ...], AsyncIterator[U]], *, stage: str = "", retry: Retries | None = None
    ) -> Stream[U]: ...
    @overload
    def transform(self, f: Callable[[T_co], U], *, stage: str = "", retry: Retries | None = None) -> Stream[U]: ...
    # mypy takes this for the one before, which tells it what a lambda is given.
    @overload
    def transform(  # type: ignore[overload-cannot-match]
        self, f: Callable[Concatenate[T_co, ...], U], *, stage: str = "", retry: Retries | None = None
    ) -> Stream[U]: ...
    def transform(self, f: Any, *, stage: str = "", retry: Retries | None = None) -> Stream[Any]:
        """Turn each payload into another. A generator function yields zero or more; a Struct class gathers names."""
        return self._then("transform", stage, f=f, retry=retry)

    @overload
    def filter(self, f: Callable[[T_co], TypeIs[U]], *, stage: str = "") -> Stream[U]: ...
    @overload
    def filter(
        self,
        f: F[T_co, bool] | F[T_co, Awaitable[bool]],
        *,
        stage: str = "",
    ) -> Stream[T_co]: ...
    def filter(self, f: Any, *, stage: str = "") -> Stream[Any]:
        """Keep the events for which `f` is true. The others are finished, and counted as filtered."""
        return self._then("filter", stage, f=f)

    def split(
        self,
        f: F[T_co, bool] | F[T_co, Awaitable[bool]],
        *,
        stage: str = "",
    ) -> tuple[Stream[T_co], Stream[T_co]]:
        """Two streams, of the events for which `f` is true and of the others. `f` runs once for each event."""
        yes = self._then("filter", stage, f=f, split=True)
        no = self.pipeline._add(Draft("filter", (self.draft,), caller(), stage, {"f": f, "twin": yes.draft}))
        return yes, no

    def of(self, kind: type[U]) -> Stream[U]:
        """The events of one type of a union."""
        return self._then("of", "", type=kind)

    def enrich(self, **names: Helper[Any] | F[T_co, Any]) -> Stream[T_co]:
        """Add what is known about the event, under names that later functions ask for. All of one call run at once."""
        return self._then("enrich", "", names=names)

    def infer(
        self,
        ref: str,
        features: F[T_co, Any] | None = None,
        *,
        name: str = "prediction",
        fallback: F[T_co, Prediction | float | str] | None = None,
        deadline: D | None = None,
        challenger: str | None = None,
        share: float = 0.0,
        shadow: str | None = None,
        many: bool = False,
        stage: str = "",
    ) -> Stream[T_co]:
        """Ask a model of the registry (`"name@alias"`), and add its `Prediction` under `name`.

        - `features`: payload and names to the model's inputs: a Struct, dataclass or dict by name, or a plain row.
        - `fallback`: what answers instead where the model fails or misses `deadline`; its predictions are marked so.
        - `challenger`, `share`: another model for that share of the keys; `shadow`: one that is asked and not heard.
        - `many`: `features` returns a list of rows, and the name holds a list of predictions.
        """
        given = {
            "ref": ref,
            "features": features,
            "name": name,
            "fallback": fallback,
            "deadline": deadline,
            "challenger": challenger,
            "share": share,
            "shadow": shadow,
            "many": many,
        }
        return self._then("infer", stage, **given)

    def act(
        self,
        f: F[T_co, Any],
        *,
        to: Endpoint | Sequence[Endpoint],
        key: By = None,
        once: bool | D = False,
        stage: str = "",
        retry: Retries | None = None,
    ) -> Stream[T_co]:
        """Decide: what `f` returns (a payload, an `Action`, a list of them, or None for nothing) goes to `to`.

        `once`: an action is kept in the store before it is sent, and when its event is processed again it is sent as it
        was, whatever `f` makes of it then. `True` keeps it for a day, `"2h"` for as long as that; after that time a
        repeat is sent as it is decided anew.
        """
        return self._then("act", stage, f=f, to=to, key=key, once=once, retry=retry)

    def through(
        self, topic: Kafka | Redis | Memory, *, key: str | tuple[str, ...] | Callable[[T_co], Any], stage: str = ""
    ) -> Stream[T_co]:
        """Send every event through a topic, under another key: from there on events are in order by the new one.

        The event stays the event it was: `event` and the ids of actions tell of its origin, also when the topic brings
        it twice. The names added so far end here, and the payload is written to the topic as JSON and read again. A
        topic belongs to one `through`, which reads it from its beginning.

        >>> from penstock.connectors import Kafka
        >>> def total(payment: dict[str, str]) -> str: return payment["shop"]
        >>> shops = Pipeline("shops")
        >>> payments = shops.source(Kafka("payments"), schema=dict[str, str], key="card")
        >>> _ = payments.through(Kafka("payments-by-shop"), key="shop").act(total, to=Kafka("totals"))
        >>> [(node.kind, node.stage) for node in shops.build()][1:3]
        [('through', 'through(payments-by-shop)'), ('source', 'payments-by-shop')]
        """
        near = self._then("forward", stage, topic=topic, key=key)
        return self.pipeline._add(Draft("through", (), caller(), "", {"forward": near.draft}))

    def pipe(self, f: Callable[Concatenate[Stream[T_co], P], R], *args: P.args, **names: P.kwargs) -> R:
        """Apply a function of a stream: a reusable piece of pipeline."""
        return f(self, *args, **names)

    def end(self) -> None:
        """Say that this stream is meant to lead nowhere: it is kept for what its stages do."""
        self._then("end", "")

    def _then(self, kind: str, stage: str, **given: Any) -> Stream[Any]:
        return self.pipeline._add(Draft(kind, (self.draft,), caller(), stage, given))


def merge(*streams: Stream[T]) -> Stream[T]:
    """One stream of the events of several. Functions after it may ask for the names that all of them have."""
    if not streams or not all(isinstance(stream, Stream) for stream in streams):
        raise DeclarationError("merge() joins streams: give it two or more, one after another")
    first = streams[0]
    given = {"foreign": any(stream.pipeline is not first.pipeline for stream in streams)}
    return first.pipeline._add(Draft("merge", tuple(stream.draft for stream in streams), caller(), "", given))


def caller() -> Where:
    """Where the user wrote the call."""
    return _caller() or Where("<unknown>", 0)
