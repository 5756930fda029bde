"""Following a topic or stream from outside: every event as it arrives, taken from nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.connectors import Batch, Endpoint, Kafka, Mqtt, Site, Source
from penstock.errors import ConfigError, PenstockError, Unavailable
from penstock.pipeline.serving.local import Local
from penstock.pipeline.serving.presence import absent
from penstock.pipeline.serving.stand_in import StandIn

PAUSE = 1.0
"""Seconds between looks for a topic that is not there."""


async def follow(at: str, *, number: int, earliest: bool, full: bool, write: Callable[[bytes], None]) -> None:
    """Write each event's payload, or with `full` all of it as JSON, until `number` of them or a signal."""
    local = Local(at, starting=False)
    try:
        endpoint = local.endpoint(at)
        if await _awaited(at, endpoint, local.site):
            earliest = earliest or isinstance(endpoint, Kafka)  # all that it has came after we did
        source = reader(endpoint, local.site, earliest)
        try:
            await source.open()
        except Unavailable as error:
            raise PenstockError(f"{at} cannot be reached: {error}") from error
        try:
            await _read(source, number, full, write)
        finally:
            await source.close()
    finally:
        await local.close()


async def _awaited(at: str, endpoint: Endpoint, site: Site) -> bool:
    """Whether there was nothing to read yet, which is said. Returns when there is, where reading would not wait."""
    try:
        missing = await absent(endpoint, site)
        if not missing:
            return False
        print(f"{at}: {missing}\nwaiting for the first event", file=sys.stderr)
        while isinstance(endpoint, Kafka) and await absent(endpoint, site):
            await asyncio.sleep(PAUSE)
    except Unavailable as error:
        raise PenstockError(f"{at} cannot be reached: {error}") from error
    return True


def reader(endpoint: Endpoint, site: Site, earliest: bool) -> Source:
    """A source of the endpoint's events that takes them from nobody."""
    from penstock.connectors.redis.endpoint import Redis
    from penstock.connectors.redis.tail import StreamTail

    if isinstance(endpoint, StandIn) and not (earliest and isinstance(endpoint.declared, Mqtt)):
        return endpoint.tail(site, earliest=earliest)
    if isinstance(endpoint, Redis):
        return StreamTail(endpoint, site, earliest=earliest)
    if isinstance(endpoint, Kafka):
        # A group of its own, which never commits anything that another would read.
        group = f"penstock-tail-{os.urandom(6).hex()}"
        return replace(endpoint, group=group, start="earliest" if earliest else "latest").source(site)
    if endpoint.address.startswith(("http:", "https:")):
        raise ConfigError(f"{endpoint.address} cannot be followed: HTTP answers its sender alone")
    if earliest:
        raise ConfigError(f"{endpoint.address} keeps nothing to begin with: leave --earliest out")
    return endpoint.source(site)


async def _read(source: Source, number: int, full: bool, write: Callable[[bytes], None]) -> None:
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, source.stop)
    left = number or -1
    while batches := await source.receive():
        for batch in batches:
            for index in range(len(batch)):
                if left:
                    write(_described(batch, index) if full else _payload(batch, index))
                    left -= 1
                batch.settle(index)
        if not left:
            return


def _payload(batch: Batch, index: int) -> bytes:
    value = batch.values[index]
    if isinstance(value, bytes):
        return value
    data: Any = batch.event(index).data
    return data if isinstance(data, bytes) else msgspec.json.encode(data)


def _described(batch: Batch, index: int) -> bytes:
    event = batch.event(index)
    payload = _payload(batch, index)
    try:
        data: object = msgspec.Raw(payload) if msgspec.json.decode(payload) is not None else None
    except msgspec.DecodeError:
        data = payload.decode(errors="replace")
    told: dict[str, object] = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time or None,
        "key": event.key,
        "topic": event.topic,
        "headers": dict(event.headers),
        "data": data,
    }
    return msgspec.json.encode(told)
