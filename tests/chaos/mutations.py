"""Events that were whole once: plain, binary, structured, with bytes, fields, headers, encoding changed at random."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

Header = tuple[str, bytes | None]

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, -1e308, 2**63, -(2**70), 10**400, "", " ", "x" * 5000, "\x00", "ü💶"),
    *("\ud800", "1e999", "NaN", "null", [], [1, [2, [3]]], {}, {"a": {"b": []}}, "{braces}", "../..", "\r\nx: y"),
)
TOKENS = (
    *(b"\xff", b"\x00", b"\xc3", b"NaN", b"-Infinity", b"1e999", b'"', b"{", b"}", b"[" * 2000, b"\\ud800", b"\\u0000"),
    *(b"9" * 500, b",", b":", b"\n", b"\r\n", b"\xf0\x9f\x92\xb6", b"\xef\xbb\xbf", b"/*", b"'", b"\\", b"%00", b" "),
)
TIMES = (
    *(
        "2026-01-01T00:00:00Z",
        "2026-01-01t00:00:60z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:60.999999999-23:59",
    ),
    *("2026-02-30T00:00:00Z", "2026-01-01T00:00:00+99:99", "\uff12\uff10\uff12\uff16-01-01T00:00:00Z"),
    *("2026-01-01", "now", ""),
)
TYPES = (
    *("application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "text/plain", ""),
    *("application/cloudevents+xml", "APPLICATION/CLOUDEVENTS+JSON; charset=utf-8", "application/x-ndjson", "\udcff"),
    "application/json; charset=latin-1",
)


@dataclass
class Record:
    """What one transport carries; `mode` says how it was meant."""

    value: bytes | None
    headers: list[Header] = field(default_factory=list)
    content_type: str = ""
    mode: str = "plain"


class Mutations:
    """An endless supply of records, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.count = 0

    def record(self, prefix: str) -> Record:
        """One record: whole, or changed in up to three places. `prefix` is that of the transport's attributes."""
        made = self._whole(prefix)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            change: Callable[[Record], None] = self.random.choice(
                (self._bytes, self._bytes, self._fields, self._fields, self._headers, self._type, self._whole_value)
            )
            change(made)
        return made

    def text(self) -> str:
        """A text that may be anything a transport lets through."""
        return str(self.random.choice(("a", "", "ü", "\x7f", "x" * 300, "a b", "\udcff", '"', "%41%", "card-7")))

    def payment(self) -> dict[str, Any]:
        """A payment that nothing is wrong with, its id used once."""
        self.count += 1
        random = self.random
        return {
            "id": f"{self.count}-{random.getrandbits(64):016x}",
            "card": f"card-{random.randrange(50)}",
            "amount": random.choice((0, 1, 12.5, -3, 1e9)),
            "currency": random.choice(("EUR", "EUR", "EUR", "XXX")),
            "note": random.choice(("", "a note", "ü💶", "x" * 200)),
            "at": random.choice((None, 0.0, 1_750_000_000.0)),
        }

    def _whole(self, prefix: str) -> Record:
        payment = self.payment()
        about = {"specversion": "1.0", "id": payment["id"], "source": "/tills", "type": "payment", "subject": "s"}
        if self.random.random() < 0.3:
            about |= {"time": self.random.choice(TIMES), "dataschema": "https://x/y", "traceparent": "00-1-2-01"}
        mode = self.random.choice(("plain", "plain", "binary", "structured"))
        if mode == "binary":
            headers: list[Header] = [(prefix + name, value.encode()) for name, value in about.items()]
            more: list[Header] = [("tenant", b"blue"), (prefix + "partitionkey", payment["card"].encode())]
            return Record(json.dumps(payment).encode(), headers + more, "application/json", mode)
        if mode == "structured":
            data: dict[str, Any] = {"data": payment}
            if self.random.random() < 0.3:
                data = {"data_base64": base64.b64encode(json.dumps(payment).encode()).decode()}
            body = json.dumps({"time": "2026-01-01T00:00:00Z", **about, "partitionkey": "k", **data})
            return Record(body.encode(), [], "application/cloudevents+json", mode)
        return Record(json.dumps(payment).encode())

    def _bytes(self, record: Record) -> None:
        value, random = bytearray(record.value or b""), self.random
        start = random.randrange(len(value) + 1)
        stop = min(len(value), start + random.choice((0, 1, 1, 5, 50)))
        part = random.choice((b"", random.choice(TOKENS), random.randbytes(random.randrange(8)), value[start:stop] * 2))
        value[start:stop] = part
        record.value = None if random.random() < 0.02 else bytes(value)

    def _fields(self, record: Record) -> None:
        """Another value for a field, at whatever depth, or none."""
        try:
            found = json.loads(record.value or b"")
        except (ValueError, RecursionError):
            return
        place, random = found, self.random
        while isinstance(place, dict) and place:
            name = random.choice(list(place))
            if isinstance(place[name], dict) and random.random() < 0.8:
                place = place[name]
                continue
            how = random.random()
            if how < 0.2:
                del place[name]
            elif how < 0.3:
                place[random.choice((name.upper(), "data", "data_base64", "specversion", "\ud800", ""))] = place[name]
            else:
                place[name] = random.choice(ODD)
            break
        record.value = json.dumps(found).encode("utf-8", "replace")

    def _whole_value(self, record: Record) -> None:
        """The same in another encoding or packing, twice, with a field said twice, cut off, or nothing but white."""
        value, random = record.value or b"", self.random
        text = value.decode("utf-8", "replace")
        name = random.choice(("id", "card", "amount", "specversion", "data", "note"))
        packed: tuple[bytes, ...] = (
            *(text.encode("utf-16"), text.encode("utf-32-le"), b"\xef\xbb\xbf" + value, gzip.compress(value, 1)),
            *(value + value, b"[" + value + b"]", json.dumps(text).encode(), b" \t\r\n", value + b"\x00" * 20),
            *(
                b'{"%b":%b,%b' % (name.encode(), random.choice(TOKENS), value[1:]),
                value[: random.randrange(len(value) + 1)],
            ),
            *(b'{"%b":"twice",%b' % (name.encode(), value[1:]), b'{"a":' * 600 + value + b"}" * 600, value.lower()),
        )
        record.value = random.choice(packed)

    def _headers(self, record: Record) -> None:
        random, headers = self.random, record.headers
        if headers and random.random() < 0.7:
            at = random.randrange(len(headers))
            name, value = headers[at]
            changed: tuple[Header | None, ...] = (
                *(None, (name, None), (name, b""), (name, random.choice(TOKENS)), (name.upper(), value)),
                *((name + "x", value), (name, (value or b"") * 50), (name, b"1.0"), (name, "\ufeffü".encode())),
                *((name, random.choice(TIMES).encode()), (name, b"x" * 20_000), (name, b"%25%zz%ff%00")),
            )
            one = random.choice(changed)
            headers[at : at + 1] = [] if one is None else [one]
        else:
            headers.append(
                (random.choice(("ce_id", "ce-specversion", "id", "", "data", "key", "x-ü", "ce_")), b"\xff1")
            )

    def _type(self, record: Record) -> None:
        record.content_type = self.random.choice(TYPES)
