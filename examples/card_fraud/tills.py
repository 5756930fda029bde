"""Where the demonstration's payments are made: most reach the pipeline by Kafka, some by MQTT, a few by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from examples.card_fraud.events import Payment
from examples.card_fraud.ledger import Ledger
from penstock.connectors import Http, Kafka, Message, Mqtt, Settings, Sink, Site
from penstock.errors import Unavailable
from penstock.pipeline.serving.stand_in import stand_in

AGAIN = 0.5
"""Seconds after which what met an outage is sent again."""


class Tills:
    """Sends payments, and notes in the ledger when each left and which were refused."""

    def __init__(self, site: Site, settings: Settings, ledger: Ledger) -> None:
        instead = stand_in(settings)
        self.ledger = ledger
        self.url = f"http://{settings.process.http_listen}/payments"
        self._kafka: Sink = instead(Kafka("payments")).sink(site)
        self._mqtt: Sink = instead(Mqtt("terminals/{terminal}/payments")).sink(site)
        self._http: Sink = Http(self.url).sink(site)
        self._encode = msgspec.json.Encoder().encode
        self._sent = self._settled = 0

    @property
    def waiting(self) -> int:
        """Payments that were handed over and not confirmed."""
        return self._sent - self._settled

    async def open(self) -> None:
        """Connect."""
        for sink in (self._kafka, self._mqtt, self._http):
            await sink.open(partial(self._report, sink))

    def take(self, payment: Payment) -> None:
        """Send one payment the way its kind usually comes."""
        self.ledger.sent(payment)
        self._sent += 1
        if payment.entry == "contactless" and self._sent % 3 == 0:
            self._send(self._mqtt, f"terminals/{payment.terminal}/payments", payment)
        elif payment.entry == "online" and self._sent % 5 == 0:
            self._send(self._http, self.url, payment)
        else:
            self._send(self._kafka, "payments", payment)

    def _send(self, sink: Sink, to: str, payment: Payment) -> None:
        message = Message(
            to,
            self._encode(payment),
            key=payment.card.encode(),
            id=payment.id,
            source="/examples/card-fraud",
            type="payment",
            time=payment.at or 0.0,
        )
        sink.send([message])

    def _report(self, sink: Sink, messages: Sequence[Message], error: BaseException | None) -> None:
        if isinstance(error, Unavailable):
            asyncio.get_running_loop().call_later(AGAIN, sink.send, messages)
            return
        self._settled += len(messages)
        if error is not None:
            for message in messages:
                self.ledger.refuse(message.id)

    async def close(self) -> None:
        """Leave."""
        for sink in (self._kafka, self._mqtt, self._http):
            await sink.close()
