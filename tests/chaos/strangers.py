"""Senders of anything: through a broker, a stream, or a port of ours, and what came of it as far as they are told."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
import redis
from confluent_kafka import KafkaException, Producer

from tests.chaos.wire import number, text

PATIENCE = 60.0
"""Seconds without a word after which a server is taken to wait for more."""

END = b"GET /end HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
FILLING = b"\r\n" * 2048
"""Behind each request: it ends one that lacks its end, and is nothing between two that are whole."""

ABREAST = 8
"""Connections at a time."""

Record = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]
"""Key, value and headers."""


def to_kafka(address: str, topic: str, records: Sequence[Record]) -> int:
    """How many of these the topic has taken."""
    client = Producer({"bootstrap.servers": address, "enable.idempotence": True})
    taken: list[object] = []
    for key, value, headers in records:
        with suppress(KafkaException):  # too large
            client.produce(topic, value, key, headers=headers, on_delivery=lambda error, _: taken.append(error))
    assert client.flush(PATIENCE) == 0
    return sum(error is None for error in taken)


def to_redis(address: str, stream: str, entries: Sequence[Sequence[bytes]]) -> int:
    """How many of these, names and values in turn, the stream has taken: those that have any."""
    added = 0
    with redis.Redis.from_url(address) as client:
        for flat in entries:
            with suppress(redis.ResponseError):
                client.execute_command("XADD", stream, "*", *flat)
                added += 1
    return added


def to_mqtt(address: str, packets: Sequence[tuple[int, bytes]]) -> int:
    """How many of these messages the broker has taken; it hangs up over one that it does not like."""
    taken, connection = 0, _connected(address)
    for command, packet in packets:
        connection.sendall(bytes([command]) + number(len(packet)) + packet)
        answer = connection.recv(100)
        if answer[:1] == b"@":
            assert len(answer) == 4 or answer[4:5] == b"\x00", answer  # somebody is subscribed
            taken += 1
        else:
            connection.close()
            connection = _connected(address)
    connection.close()
    return taken


def _connected(address: str) -> socket.socket:
    parts = urlsplit(address)
    made = socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE)
    hello = text(b"MQTT") + b"\x05\x02\x00\x3c" + b"\x00" + text(b"")
    made.sendall(b"\x10" + number(len(hello)) + hello)
    assert made.recv(1000)[:1] == b"\x20"
    return made


class Answers:
    """What HTTP senders were told.

    - `accepted`: events that were, alone or as one of many; `refused`: those of many that were not.
    - `problems`: whole requests that were not, by status; `strange`: what was no request to the server.
    - `letters`: refusals that name a dead letter.
    """

    def __init__(self) -> None:
        self.accepted = self.refused = self.letters = self.strange = 0
        self.problems: Counter[int] = Counter()

    def add(self, status: int, kind: str, body: bytes) -> None:
        """One answer."""
        if kind.startswith("application/x-ndjson"):
            for line in body.splitlines():
                said = msgspec.json.decode(line)
                self.accepted += said["status"] == 202
                self.refused += said["status"] != 202
                self.letters += "letter" in said
        elif status == 202:
            self.accepted += 1
        elif kind.startswith("application/json"):
            said = msgspec.json.decode(body)
            if said["error"] != "nothing listens on /end":
                self.problems[status] += 1
                self.letters += "letter" in said
        else:
            assert 400 <= status < 500, (status, body)
            self.strange += 1


async def to_http(address: str, requests: Sequence[bytes]) -> Answers:
    """Each of these over a connection of its own."""
    found, parts, room = Answers(), urlsplit(address), asyncio.Semaphore(ABREAST)

    async def send(one: bytes) -> None:
        async with room:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(one + FILLING + END)
            heard = bytearray()
            try:
                with suppress(ConnectionError):
                    while part := await asyncio.wait_for(reader.read(65536), PATIENCE):
                        heard += part
            except TimeoutError:
                raise AssertionError(f"no end of it: {one!r} {bytes(heard)!r}") from None
            writer.close()
            for answer in _answers(bytes(heard)):
                found.add(*answer)

    await asyncio.gather(*map(send, requests))
    return found


def _answers(heard: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Status, content type and body of each."""
    while heard:
        head, _, heard = heard.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        body, heard = heard[:size], heard[size:]
        if not status.startswith("HTTP/1.1 100"):
            yield int(status.split(" ")[1]), headers.get("content-type", ""), body


def flat(record: Any) -> list[bytes]:
    """A record as the names and values of an entry."""
    found = [b"data", record.value] if record.value is not None else []
    found += [b"content-type", record.content_type.encode("utf-8", "surrogateescape")] if record.content_type else []
    return found + [part for name, value in record.headers for part in (name.encode("utf-8", "replace"), value or b"")]
