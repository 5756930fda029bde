"""Sends requests that were packed ahead over many connections, as fast as they are answered: `python -m` with JSON.

A load generator of its own, because a client library in Python would be slower than the servers it measures. Each
connection has one request under way. It prints how many requests were answered, and in how many seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from itertools import cycle
from time import perf_counter
from typing import cast

from benchmarks.payments import records
from penstock.pipeline.serving.run import on_loop


class Sender(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last is there."""

    def __init__(self, requests: Iterator[bytes], counts: list[int]) -> None:
        self.requests = requests
        self.counts = counts
        self.transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end or len(rest) < _length(head):
            return
        if head[9:10] != b"2":
            print(json.dumps({"problem": self._data[:500].decode(errors="replace")}), flush=True)
            sys.exit(1)
        self._data = b""
        self.counts[0] += 1
        assert self.transport is not None
        self.transport.write(next(self.requests))


def _length(head: bytes) -> int:
    """The length of the body that a head announces.

    >>> _length(b"HTTP/1.1 202 Accepted\\r\\nContent-Length: 12")
    12
    """
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0


def requests(host: str, lines: int) -> list[bytes]:
    """Requests of one payment each, or of `lines` payments as NDJSON."""
    values = [record.value for record in records(20_000)]
    if lines == 1:
        bodies, kind = values, "application/json"
    else:
        bodies = [b"\n".join(values[start : start + lines]) for start in range(0, len(values), lines)]
        kind = "application/x-ndjson"
    head = "POST /payments HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
    return [head.format(host, kind, len(body)).encode() + body for body in bodies]


async def load(port: int, connections: int, seconds: float, lines: int) -> dict[str, float]:
    """Send for so long; half a second before it counts is for the server to get to its pace."""
    loop = asyncio.get_running_loop()
    packed = cycle(requests(f"127.0.0.1:{port}", lines))
    counts = [0]
    for _ in range(connections):
        await loop.create_connection(lambda: Sender(packed, counts), "127.0.0.1", port)
    await asyncio.sleep(0.5)
    before, began = counts[0], perf_counter()
    await asyncio.sleep(seconds)
    return {"requests": counts[0] - before, "seconds": perf_counter() - began}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(on_loop(load(**given))), flush=True)
