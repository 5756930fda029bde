"""Makes up payments and sends them to the pipeline's sources, at a steady rate.

    python -m examples.card_fraud.producer --rate 200 --seconds 60

Where they go is in the settings: `PENSTOCK_KAFKA`, `PENSTOCK_MQTT` (every tenth, where both are set), and the cards'
profiles to `PENSTOCK_STORE`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from examples.card_fraud.payments import Bank
from penstock import ConfigError, PenstockError, Unavailable
from penstock.connectors import Kafka, Message, Mqtt, Settings, Sink, Site, Store

TICK = 0.02
AGAIN = 0.5
"""Seconds after which what met an outage is tried again."""
PATIENCE = 10.0
UNSETTLED = 5_000
"""Payments on their way at most; beyond it, no more are made until some have arrived."""


@dataclass(frozen=True)
class Route:
    """A way to the pipeline: an opened sink's topic, where `{terminal}` is filled in, and its share of the payments."""

    sink: Sink
    topic: str
    share: int = 1


class Producer:
    """Sends a bank's payments over some routes, `rate` of them a second.

    - `made`, `confirmed`: payments so far; a payment that met an outage is sent again until it is confirmed.
    - `refused`: why payments were refused for good, if any were.
    """

    def __init__(self, bank: Bank, routes: Sequence[Route], rate: float) -> None:
        self.bank = bank
        self.rate = rate
        self.made = self.confirmed = 0
        self.refused: list[str] = []
        self.trouble = ""
        self._turns = [route for route in routes for _ in range(route.share)]
        self._sinks = [route.sink for route in routes]
        self._again: dict[int, list[Message]] = {}
        self._again_at = 0.0

    async def open(self) -> None:
        """Connect every route. An outage is waited for."""
        for number, sink in enumerate(self._sinks):
            await patiently(partial(sink.open, partial(self._settled, number)))

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, then wait until everything sent has arrived, or for `PATIENCE` seconds."""
        loop = asyncio.get_running_loop()
        last, due = loop.time(), 0.0
        while not stop.is_set():
            now = loop.time()
            # What could not be sent in time is let go, so that an outage is not followed by a flood.
            due = min(due + (now - last) * self.rate, max(self.rate, 1.0))
            last = now
            count = min(int(due), UNSETTLED - self.waiting)
            if count > 0:
                due -= count
                self._send(count)
            self._send_again()
            await asyncio.sleep(TICK)
        end = loop.time() + PATIENCE
        while self.waiting and loop.time() < end:
            self._send_again()
            await asyncio.sleep(TICK)

    async def close(self) -> None:
        """Leave every route."""
        for sink in self._sinks:
            await sink.close()

    @property
    def waiting(self) -> int:
        """Payments on their way."""
        return self.made - self.confirmed - len(self.refused)

    def _send(self, count: int) -> None:
        now = time.time()
        lists: dict[int, list[Message]] = {}
        for _ in range(count):
            payment = self.bank.payment(now).payment
            route = self._turns[self.made % len(self._turns)]
            self.made += 1
            message = Message(
                route.topic.replace("{terminal}", payment.terminal),
                msgspec.json.encode(payment),
                key=payment.card.encode(),
                id=payment.id,
                source="/examples/card-fraud/producer",
                type="payment",
                time=now,
            )
            lists.setdefault(self._sinks.index(route.sink), []).append(message)
        for number, messages in lists.items():
            self._sinks[number].send(messages)

    def _send_again(self) -> None:
        if not self._again or time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + AGAIN
        again, self._again = self._again, {}
        for number, messages in again.items():
            self._sinks[number].send(messages)

    def _settled(self, number: int, messages: Sequence[Message], error: BaseException | None) -> None:
        if error is None:
            self.confirmed += len(messages)
            self.trouble = ""
        elif isinstance(error, Unavailable):
            self._again.setdefault(number, []).extend(messages)
            self._say(str(error))
        else:
            self.refused += [str(error)] * len(messages)

    def _say(self, trouble: str) -> None:
        """Say what is wrong, once."""
        if trouble != self.trouble:
            self.trouble = trouble
            print(f"waiting: {trouble}", file=sys.stderr, flush=True)


async def patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Try a step until the server it needs is there, saying so once."""
    said = False
    while True:
        try:
            return await step()
        except Unavailable as error:
            if not said:
                print(f"waiting: {error}", file=sys.stderr, flush=True)
            said = True
            await asyncio.sleep(1.0)


async def fill(store: Store, bank: Bank) -> int:
    """Write every card's profile to the store; how many there are."""
    profiles = list(bank.profiles.items())
    for start in range(0, len(profiles), 500):
        some = profiles[start : start + 500]
        await asyncio.gather(
            *[store.write_hash(f"card:{card}", msgspec.structs.asdict(profile)) for card, profile in some]
        )
    return len(profiles)


def routes(site: Site) -> list[Route]:
    """The routes that the settings give an address for."""
    settings = site.settings
    found = []
    if settings.has("PENSTOCK_KAFKA"):
        found.append(Route(Kafka("payments").sink(site), "payments", share=9))
    if settings.has("PENSTOCK_MQTT"):
        topic = "terminals/{terminal}/payments"
        found.append(Route(Mqtt(topic).sink(site), topic))
    if not found:
        raise ConfigError("nowhere to send payments to: set PENSTOCK_KAFKA, PENSTOCK_MQTT or both")
    return found


async def produce(rate: float, seconds: float | None, seed: int | None) -> Producer:
    """Fill the store, then send until the time is over or a signal comes."""
    from penstock.connectors.store.redis import RedisStore

    site = Site(Settings(), pipeline="card-fraud-producer")
    bank = Bank(seed)
    producer = Producer(bank, routes(site), rate)
    store = RedisStore(site)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await patiently(store.open)
    print(f"{await fill(store, bank):,} cards are in the store", file=sys.stderr, flush=True)
    await store.close()
    await producer.open()
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    telling = asyncio.create_task(_tell(producer))
    await producer.run(stop)
    telling.cancel()
    await producer.close()
    await site.close()
    return producer


async def _tell(producer: Producer, every: float = 5.0) -> None:
    before = 0
    while True:
        await asyncio.sleep(every)
        rate = (producer.confirmed - before) / every
        before = producer.confirmed
        news = f"{before:,} payments sent, {rate:,.0f}/s, {producer.waiting:,} on their way"
        print(news, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.card_fraud.producer", description="Send made-up payments to the pipeline's sources."
    )
    parser.add_argument("--rate", type=float, default=100.0, help="payments a second (default: 100)")
    parser.add_argument("--seconds", type=float, help="for how long (default: until Ctrl-C)")
    parser.add_argument("--seed", type=int, help="the same seed makes the same payments")
    given = parser.parse_args(arguments)
    try:
        producer = asyncio.run(produce(given.rate, given.seconds, given.seed))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except PenstockError as error:
        print(error, file=sys.stderr)
        return 1
    lost = f", {producer.waiting:,} given up" if producer.waiting else ""
    print(f"{producer.confirmed:,} payments sent, {len(producer.refused):,} refused{lost}", file=sys.stderr)
    for reason in sorted(set(producer.refused)):
        print(f"refused: {reason}", file=sys.stderr)
    return 1 if producer.refused or producer.waiting else 0


if __name__ == "__main__":
    sys.exit(main())
