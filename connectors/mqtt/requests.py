"""What is asked of an MQTT broker and waited for: subscriptions, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from penstock.connectors.mqtt.broker import Broker
from penstock.connectors.mqtt.client import subscribe
from penstock.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.reasoncodes import ReasonCode

ANSWER = 10.0
"""Seconds that a broker has to answer."""

NOTHING = "penstock/nothing"
"""A topic that is never subscribed to."""


class Requests:
    """The requests of one client that are under way. `problem` says why there is no connection."""

    def __init__(self, client: Client, broker: Broker, problem: Callable[[], str | None]) -> None:
        self._client = client
        self._broker = broker
        self._problem = problem
        self._answers: dict[int, asyncio.Future[None]] = {}
        client.on_subscribe = client.on_unsubscribe = self._answer

    async def subscribe(self, topic: str, qos: int) -> None:
        """Subscribe, and wait until the broker has granted it. Raises `Unavailable` or `ConfigError`."""
        await self._granted(subscribe(self._client, topic, qos), topic)

    async def unsubscribe(self, topic: str) -> None:
        """End a subscription, and wait until the broker has. Raises `Unavailable` or `ConfigError`."""
        await self._granted(self._client.unsubscribe(topic)[1], topic)

    async def heard(self) -> None:
        """Wait until the broker has taken everything sent so far, or the connection is lost.

        Brokers read one packet at a time, and drop the rest of who leaves or comes again. What makes this one answer is
        an unsubscription of nothing, behind all else.
        """
        _, mid = self._client.unsubscribe(NOTHING)
        if mid is not None:
            with suppress(OSError, TimeoutError):
                await self._answered(mid)

    async def _granted(self, mid: int | None, topic: str) -> None:
        if mid is None:
            raise Unavailable(self._broker.name, self._problem() or "not connected")
        try:
            await self._answered(mid)
        except PermissionError as error:
            raise ConfigError(f"{self._broker.variable}: subscription {topic!r}: {error}") from None
        except (OSError, TimeoutError) as error:
            raise Unavailable(self._broker.name, self._broker.why(error)) from None

    async def _answered(self, mid: int) -> None:
        """Wait for the broker's answer to a request. Raises OSError or TimeoutError."""
        self._answers[mid] = answer = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(answer, ANSWER)
        finally:
            self._answers.pop(mid, None)

    def _answer(self, _client: object, _data: object, mid: int, reasons: list[ReasonCode], _props: object) -> None:
        answer = self._answers.get(mid)
        if answer is None or answer.done():
            return
        if reasons and reasons[0].is_failure:
            answer.set_exception(PermissionError(f"the broker refuses it: {reasons[0]}"))
        else:
            answer.set_result(None)

    def fail(self, error: OSError) -> None:
        """The connection is lost, and no answer comes."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
