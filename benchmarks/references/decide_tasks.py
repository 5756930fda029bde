"""`decide` as it is often written: one asyncio task per event, redis-py's connection pool, onnxruntime."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import msgspec

from benchmarks.decision import FIELDS, INPUTS, THRESHOLD, Decision
from benchmarks.payments import Payment
from benchmarks.references.session import opened

CONNECTIONS = 64
"""Of 16, 64 and 256 the fastest; tasks beyond it wait for a connection anyway."""


async def run(values: Sequence[bytes], redis_url: str, model: bytes) -> tuple[float, list[bytes]]:
    """Events per second, and the decisions."""
    from redis.asyncio import BlockingConnectionPool, Redis

    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(redis_url, max_connections=CONNECTIONS, timeout=None)
    client = Redis(connection_pool=pool)
    probabilities = opened(model)
    decode, encode = msgspec.json.Decoder(Payment).decode, msgspec.json.Encoder().encode
    pack = struct.Struct(f"{len(INPUTS)}f").pack
    room = asyncio.Semaphore(CONNECTIONS)
    decisions: list[bytes] = []

    async def handle(value: bytes) -> None:
        try:
            payment = decode(value)
            found: Any = await client.hmget(f"card:{payment.card}", FIELDS)
            row = pack(payment.amount, *map(float, found))
            risk = probabilities([row])[0]
            decisions.append(encode(Decision(payment.id, payment.card, risk < THRESHOLD, risk)))
        finally:
            room.release()

    await client.ping()
    probabilities([bytes(4 * len(INPUTS))])
    began = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for value in values:
            await room.acquire()
            tasks.create_task(handle(value))
    rate = len(values) / (perf_counter() - began)
    await client.aclose()
    await pool.aclose()
    return rate, decisions
