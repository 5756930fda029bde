"""Turns: one alone is not delayed, and what comes meanwhile goes out together."""

from __future__ import annotations

import asyncio

import pytest

from penstock.pipeline.letters.turns import Turns


class Server:
    """Answers what was asked of it when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, asyncio.Future[int]]] = []

    def ask(self, number: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.asked.append((number, future))
        return future

    def answer(self) -> list[int]:
        asked, self.asked = self.asked, []
        for number, future in asked:
            future.set_result(number)
        return [number for number, _ in asked]


async def some_ticks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_comes_meanwhile_goes_out_together() -> None:
    turns, server = Turns(), Server()

    def take(number: int) -> asyncio.Task[int]:
        return asyncio.ensure_future(turns.take(lambda: server.ask(number)))

    tasks = [take(0)]
    await some_ticks()
    tasks += [take(number) for number in range(1, 4)]
    await some_ticks()
    assert server.answer() == [0]
    await some_ticks()
    tasks.append(take(4))
    await some_ticks()
    assert server.answer() == [1, 2, 3]
    await some_ticks()
    assert server.answer() == [4]
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3, 4]
    alone = take(5)
    await some_ticks()
    assert server.answer() == [5]
    assert await alone == 5


async def test_one_that_fails_or_is_cancelled_stops_nobody() -> None:
    turns, server = Turns(), Server()

    async def fails() -> int:
        await some_ticks()
        raise ValueError("own")

    first = asyncio.ensure_future(turns.take(fails))
    await asyncio.sleep(0)
    second, third = (asyncio.ensure_future(turns.take(lambda: server.ask(1))) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(ValueError, match="own"):
        await first
    await some_ticks()
    assert server.answer() == [1]
    assert await third == 1
