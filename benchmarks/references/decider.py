"""Decisions for lists of payments, by hand: one write and one read of Redis for a list, one run of the model."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import hiredis
import msgspec

from benchmarks.decision import FIELDS, INPUTS, THRESHOLD, Decision, content
from benchmarks.payments import Payment
from benchmarks.references.session import opened


class Decider:
    """Asks for a list's features with `ask`, and makes its decisions with `decide`; lists may be asked for ahead."""

    def __init__(self, redis_url: str, registry: str) -> None:
        parts = urlsplit(redis_url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        fields = b"".join(b"$%d\r\n%b\r\n" % (len(name), name.encode()) for name in FIELDS)
        self._form = b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\ncard:%%b\r\n%b" % (len(FIELDS) + 2, fields)
        self._probabilities = opened(content(Path(registry)))
        self._pack = struct.Struct(f"{len(INPUTS)}f").pack
        self._decode = msgspec.json.Decoder(Payment).decode
        self._encode = msgspec.json.Encoder().encode
        for size in (1, 64, 512):
            self._probabilities([bytes(4 * len(INPUTS))] * size)

    def ask(self, values: Sequence[bytes]) -> list[Payment]:
        """Decode payments and send for their features."""
        payments = [self._decode(value) for value in values]
        form = self._form
        keys = [payment.card.encode() for payment in payments]
        self._socket.sendall(b"".join([form % (len(key) + 5, key) for key in keys]))
        return payments

    def decide(self, payments: Sequence[Payment]) -> list[bytes]:
        """The decisions on payments that were asked for, as JSON, in order."""
        pack = self._pack
        rows = [
            pack(payment.amount, *map(float, found))
            for payment, found in zip(payments, self._replies(len(payments)), strict=True)
        ]
        encode = self._encode
        return [
            encode(Decision(payment.id, payment.card, risk < THRESHOLD, risk))
            for payment, risk in zip(payments, self._probabilities(rows), strict=True)
        ]

    def _replies(self, count: int) -> list[list[bytes]]:
        reader, gets = self._reader, self._reader.gets
        replies: list[list[bytes]] = []
        while True:
            while len(replies) < count:
                reply = gets()
                if reply is False:
                    break
                replies.append(reply)
            if len(replies) == count:
                return replies
            reader.feed(self._socket.recv(262_144))
