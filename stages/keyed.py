"""Questions that are keys of the store: asked together, once each, and remembered for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from operator import attrgetter
from typing import Any

from penstock.connectors import Store
from penstock.connectors.template import filler, names
from penstock.stages.finder import Finder
from penstock.stages.helper import Failure
from penstock.stages.near import NearCache
from penstock.stages.outcome import Reject
from penstock.stages.row import ABSENT, Bad


class Trip:
    """Keys asked for together, and those who wait for their values.

    A waiter gets the value of its key, or with None for a key the values of all. `fine`: none of them is `Bad`.
    """

    __slots__ = ("fine", "keys", "waiters")

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.fine = False
        self.waiters: list[tuple[str | None, asyncio.Future[Any]]] = []

    def wait(self, key: str | None) -> asyncio.Future[Any]:
        """A future of the waiter's own: cancelling it disturbs nobody else."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiters.append((key, future))
        return future

    def arrive(self, values: dict[str, Any]) -> None:
        for key, future in self.waiters:
            if future.done():
                continue
            value = values if key is None else values[key]
            if type(value) is Bad:
                future.set_exception(Reject(value.reason))
            else:
                future.set_result(value)

    def fail(self, error: BaseException) -> None:
        for _, future in self.waiters:
            if not future.done():
                future.set_exception(error)


class Keyed:
    """An asker whose questions are keys: what one loop tick wants is one question to the store, and no key is asked
    for while it is on its way.

    `missing` gives the answer for a key that the store does not have; answers hold for `cache` seconds, if given.
    """

    def __init__(
        self,
        question: Callable[[Any], str],
        kind: Any,
        store: Store,
        missing: Callable[[str], Any],
        cache: float | None = None,
    ) -> None:
        self.question = question
        self._finder = Finder(kind, store)
        self._missing = missing
        self._cache = None if cache is None else NearCache(cache, store.clock)
        self._flying: dict[str, Trip] = {}
        self._next: Trip | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, question: str) -> Awaitable[Any]:
        """The value of one key. Raises `Reject` for one that is missing and must not be, or that does not fit."""
        value = ABSENT if self._cache is None else self._cache.get(question, ABSENT)
        if value is not ABSENT:
            return Known(value)
        trip = self._flying.get(question)
        if trip is None:
            trip = self._next
            if trip is None:
                trip = self._next = Trip([])
                asyncio.get_running_loop().call_soon(self._depart)
            trip.keys.append(question)
            self._flying[question] = trip
        return trip.wait(question)

    async def ask_many(self, questions: Sequence[str]) -> list[Any]:
        """The values of many keys, in order; each distinct one is asked for once."""
        own = list(dict.fromkeys(questions))
        found: dict[str, Any] = {}
        trips: list[Trip] = []
        if self._cache is not None or not self._flying.keys().isdisjoint(own):
            own, found, trips = self._sort(own)
        if own:
            trips.append(self._leave(Trip(own)))
        waits = [trip.wait(None) for trip in trips]
        for values in await asyncio.gather(*waits) if len(waits) > 1 else [await waits[0]] if waits else ():
            found = {**found, **values} if found else values
        answers = [found[key] for key in questions]
        if not trips or not all(trip.fine for trip in trips):
            return [Failure(Reject(each.reason)) if type(each) is Bad else each for each in answers]
        return answers

    def _sort(self, keys: Sequence[str]) -> tuple[list[str], dict[str, Any], list[Trip]]:
        """What must be asked for, what is known, and the trips that bring the rest."""
        own: list[str] = []
        known: dict[str, Any] = {}
        trips: dict[Trip, None] = {}
        for key in keys:
            value = ABSENT if self._cache is None else self._cache.get(key, ABSENT)
            if value is not ABSENT:
                known[key] = value
            elif (trip := self._flying.get(key)) is not None:
                trips[trip] = None
            else:
                own.append(key)
        return own, known, list(trips)

    def _depart(self) -> None:
        trip, self._next = self._next, None
        if trip is not None:
            self._leave(trip)

    def _leave(self, trip: Trip) -> Trip:
        self._flying.update(dict.fromkeys(trip.keys, trip))
        # A task of its own: whoever asked may be cancelled, and others may have joined.
        task = asyncio.get_running_loop().create_task(self._fly(trip))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return trip

    async def _fly(self, trip: Trip) -> None:
        try:
            found, trip.fine = await self._finder.find(trip.keys)
            values = dict(zip(trip.keys, found, strict=True))
            if not trip.fine:
                values.update((key, self._missing(key)) for key, value in values.items() if value is ABSENT)
        except BaseException as error:
            self._land(trip)
            trip.fail(error)
            if not isinstance(error, Exception):
                raise
            return
        self._land(trip)
        if self._cache is not None:
            for key, value in values.items():
                self._cache.put(key, value)
        trip.arrive(values)

    def _land(self, trip: Trip) -> None:
        for key in trip.keys:
            del self._flying[key]


class Known:
    """An answer that is there already: awaiting it suspends nobody."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        if type(self._value) is Bad:
            raise Reject(self._value.reason)
        return self._value


def question(template: str) -> Callable[[Any], str]:
    """A function from payload to key. It raises `Reject` where a field is missing.

    >>> question("card:{card}")({"card": 7})
    'card:7'
    """
    fill, fields = filler(template), names(template)

    def careful(payload: Any) -> str:
        try:
            return fill(payload)
        except KeyError as error:
            raise Reject(f"the key {template} needs {error.args[0]}, which the payload does not have") from None

    if len(fields) != 1:
        return careful
    before, _, rest = template.partition("{")
    after = rest.partition("}")[2]
    field = attrgetter(fields[0])

    def quick(payload: Any) -> str:
        if type(payload) is dict:
            return careful(payload)
        try:
            value = field(payload)
        except AttributeError:
            return careful(payload)
        return f"{before}{value}{after}" if value is not None else careful(payload)

    return quick
