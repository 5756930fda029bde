"""What the records of one source are: their payload, their order key, what tells them apart, the event they carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.connectors import Batch, Event
from penstock.connectors.template import names as braces
from penstock.errors import BadEvent
from penstock.pipeline.graph import Source
from penstock.stages.payload import admits_none, decoder, getter, is_mapping, text_of


class Records:
    """Reads one source's records, in the way its declaration says.

    - `decode`: from bytes to the payload; with the braces of an address, it is given the record's batch and index too.
    - `key_of`: the order key of a payload, its batch and index.
    """

    def __init__(self, source: Source, order: str) -> None:
        self.source = source
        self.captured = any(braces(endpoint.address) for endpoint in source.endpoints)
        self.decode = decoder(source.schema, source.decode, self.captured)
        mapping = is_mapping(source.schema)
        get = getter(source.key, mapping) if source.key is not None else None
        self.key_of = _by_partition if order == "partition" else keys_of(order, get, str(source.key))
        self._identity = getter(source.identity, mapping) if source.identity is not None else None
        self._time = getter(source.time, mapping) if source.time is not None else None

    def unusual(self, value: Any) -> Any:
        """A record without bytes: an envelope that could not be read, or a tombstone."""
        if isinstance(value, BadEvent):
            raise value
        if admits_none(self.source.schema):
            return None
        raise BadEvent("the record has no value (a tombstone), and the schema does not admit None", status=422)

    def fresh(self, batch: Batch, index: int) -> Any:
        """The payload of a record decoded once more: what a failed try did to the first one is not in it."""
        value = batch.values[index]
        if value.__class__ is not bytes:
            return value
        return self.decode(value, batch, index) if self.captured else self.decode(value)

    def identify(self, batch: Batch, index: int, payload: Any) -> str:
        """What the ids of the event's actions begin with: the declared field, else its position."""
        if self._identity is not None and payload is not None:
            found = self._identity(payload)
            if found.__class__ is str and found:
                return found
        return self.declared(payload) or batch.position(index)

    def declared(self, payload: Any) -> str:
        """The declared id as text; empty where there is none."""
        return text_of(self._identity(payload)) if self._identity is not None and payload is not None else ""

    def distinct(self, payload: Any, batch: Batch, index: int) -> str:
        """What tells two events of this source apart: the declared id, else the source and id of the CloudEvent."""
        own = self.declared(payload)
        if own:
            return own
        event = batch.event(index)
        return f"{event.source}#{event.id}"

    def describe(self, batch: Batch, index: int, payload: Any, key: Any) -> Event:
        """The `event` that a function asked for."""
        event = batch.event(index)
        time = self._time(payload) if self._time is not None else None
        return Event(
            self.declared(payload) or event.id,
            event.source,
            event.type,
            event.subject,
            event.time if time is None else time,
            text_of(key) or event.key,
            event.topic,
            event.headers,
            payload,
        )


def keys_of(order: str, get: Callable[[Any], Any] | None, name: str) -> Callable[[Any, Batch, int], Any]:
    """How an event's order key is found: the declared field, else the record's own; None where there is no order."""
    if order == "none" and get is None:
        return lambda payload, batch, index: None
    if get is None:

        def own(payload: Any, batch: Batch, index: int) -> Any:
            keys: Sequence[Any] | None = batch.keys
            return keys[index] if keys is not None else None

        return own
    read = get

    def declared(payload: Any, batch: Batch, index: int) -> Any:
        try:
            key = read(payload)
        except (AttributeError, KeyError, TypeError) as error:
            raise BadEvent(f"the key field {name} is missing", path=f"$.{name}", status=422) from error
        if key is None:
            raise BadEvent(f"the key field {name} is null", path=f"$.{name}", status=422)
        return key

    return declared


def _by_partition(payload: Any, batch: Batch, index: int) -> Any:
    return batch.partition
