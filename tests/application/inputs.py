"""What comes in, good and bad, through each door, and what is to become of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.application.foreign import Answer, curl, kcat_produce, mosquitto_pub
from tests.application.ledger import payment

LARGE = 20_000_000


@dataclass
class Outcome:
    """What one door was given. `taken` counts the events that came in; the others were turned away at the door.

    `acted` names the payments to be decided, `dead` holds the bytes of those to be kept, `refused` and `filtered`
    count the rest.
    """

    taken: int = 0
    acted: list[str] = field(default_factory=list)
    dead: list[bytes] = field(default_factory=list)
    refused: int = 0
    filtered: int = 0

    def act(self, *ids: str) -> None:
        """Events to be acted on."""
        self.taken += len(ids)
        self.acted += ids

    def bury(self, *payloads: bytes) -> None:
        """Events to be kept as dead letters."""
        self.taken += len(payloads)
        self.dead += payloads


def envelope(number: str, version: str = "1.0", **more: object) -> bytes:
    """A payment as a structured CloudEvent."""
    about = {"specversion": version, "id": f"ce-{number}", "source": "/tills", "type": "payment", **more}
    return json.dumps({**about, "data": json.loads(payment(number, "card-ce"))}).encode()


def attributes(version: str = "1.0", prefix: str = "") -> dict[str, str]:
    """CloudEvents attributes in binary mode."""
    found = {"specversion": version, "id": "ce-1", "source": "/tills", "type": "payment"}
    return {prefix + name: value for name, value in found.items()}


WRONG = {
    "no JSON": b"{",
    "no UTF-8": b"\xff\xfe\x00",
    "text that is no UTF-8": b'{"id": "\xff", "card": "c", "terminal": "t", "amount": 1}',
    "wrong type": payment("wrong", "c", amount="much").encode(),  # type: ignore[arg-type]
    "no key field": b'{"id": "no-card", "terminal": "t", "amount": 1}',
    "null key field": b'{"id": "null-card", "card": null, "terminal": "t", "amount": 1}',
    "no id": b'{"card": "c", "terminal": "t", "amount": 1}',
    "NaN": b'{"id": "nan", "card": "c", "terminal": "t", "amount": NaN}',
    "Infinity": b'{"id": "inf", "card": "c", "terminal": "t", "amount": -Infinity}',
    "beyond a float": b'{"id": "big", "card": "c", "terminal": "t", "amount": 1e999}',
    "deep nesting": b"[" * 100_000,
    "deep nesting in a field nobody reads": b'{"id": "deep", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a list": b"[1, 2]",
    "a word": b'"word"',
    "null": b"null",
    "half a surrogate": rb'{"id": "s", "card": "\ud800", "terminal": "t", "amount": 1}',
    "two documents": payment("one", "c").encode() + payment("two", "c").encode(),
}

STRANGE = {
    "odd characters": payment("odd \r\n\x00 ü 💶", "card ü \x00 {braces}"),
    "a long key": payment("long", "c" * 10_000),
    "more than a float32": payment("vast", "card-vast", 1e300, terminal="T"),
    "a time that no calendar has": payment("never", "card-never", at=1e18),
    "a time before all others": payment("before", "card-before", at=-1e9),
}
"""Odd, but payments."""


def through_kafka(address: str, topics: str) -> Outcome:
    """Everything that a Kafka record may be."""
    outcome, topic = Outcome(), f"{topics}payments"
    kcat_produce(address, topic, [*WRONG.values()])
    outcome.bury(*WRONG.values())
    kcat_produce(address, topic, [b""], keys=["c"])
    kcat_produce(address, topic, [b""], keys=["c"], null=True)
    rejected = payment("kafka-rejected", "c", currency="XXX").encode()
    kcat_produce(address, topic, [rejected])
    outcome.bury(b"", b"", rejected)
    large = b'{"id": "' + b"x" * LARGE
    kcat_produce(address, topic, [large], largest=LARGE + 1000)
    outcome.bury(large)
    kcat_produce(address, topic, [one.encode() for one in STRANGE.values()])
    outcome.act(*[json.loads(one)["id"] for one in STRANGE.values()])
    good = payment("kafka-ce", "card-ce").encode()
    kcat_produce(address, topic, [good], headers=attributes(prefix="ce_"))
    kcat_produce(
        address, topic, [envelope("kafka-structured")], headers={"content-type": "application/cloudevents+json"}
    )
    outcome.act("kafka-ce", "kafka-structured")
    kcat_produce(address, topic, [good], headers=attributes("0.3", "ce_"))
    kcat_produce(address, topic, [good], headers={"ce_specversion": "1.0"})
    kcat_produce(address, topic, [good], headers={"content-type": "application/cloudevents+json"})
    kcat_produce(address, topic, [good], headers={"content-type": "application/cloudevents-batch+json"})
    outcome.bury(*[good] * 4)
    kcat_produce(address, topic, [payment("kafka-asked", "c", 0).encode()])
    outcome.taken, outcome.filtered = outcome.taken + 1, 1
    return outcome


def through_mqtt(address: str, topics: str) -> Outcome:
    """Everything that an MQTT message may be."""
    outcome, topic = Outcome(), f"{topics}terminals/T-1/payments"
    rejected = payment("mqtt-rejected", "c", currency="XXX").encode()
    for body in (b"", *WRONG.values(), rejected, b'{"id": "' + b"x" * LARGE):
        mosquitto_pub(address, topic, body)
        outcome.bury(body)
    good = payment("mqtt-ce", "card-ce").encode()
    mosquitto_pub(address, topic, good, properties=attributes())
    mosquitto_pub(address, topic, envelope("mqtt-structured"), content_type="application/cloudevents+json")
    outcome.act("mqtt-ce", "mqtt-structured")
    mosquitto_pub(address, topic, good, properties=attributes("0.3"))
    mosquitto_pub(address, f"{topics}terminals//payments", good)
    outcome.bury(good, good)
    mosquitto_pub(address, topic, payment("mqtt-asked", "c", 0).encode())
    outcome.taken, outcome.filtered = outcome.taken + 1, 1
    return outcome


def through_http(listen: str, folder: Path) -> Outcome:
    """Everything that a request may be. Whoever waits for an answer is told; only a stage's refusal leaves a letter."""
    outcome, url = Outcome(), f"http://{listen}/payments"

    def post(body: bytes, content_type: str = "application/json", **headers: str) -> Answer:
        return curl(folder, url, body, content_type=content_type, headers=headers)

    for name, body in {"nothing": b"", **WRONG}.items():
        answer = post(body)
        assert answer.status in (400, 422), f"{name}: {answer}"
        assert "letter" not in json.loads(answer.body), f"{name}: {answer}"
        outcome.taken, outcome.refused = outcome.taken + 1, outcome.refused + 1
    rejected = payment("http-rejected", "c", currency="XXX").encode()
    answer = post(rejected)
    assert (answer.status, bool(json.loads(answer.body)["letter"])) == (422, True), answer
    outcome.bury(rejected)
    assert json.loads(post(WRONG["wrong type"]).body)["path"] == "$.amount"
    outcome.taken, outcome.refused = outcome.taken + 1, outcome.refused + 1
    assert post(b"x" * LARGE).status == 413
    assert post(b"<payment/>", "application/xml").status == 415
    assert curl(folder, f"http://{listen}/nowhere", b"{}").status == 404

    good = payment("http-ce", "card-ce").encode()
    binary = curl(folder, url, good, headers=attributes(prefix="ce-"))
    assert binary.status == 200, binary
    structured = post(envelope("http-structured"), "application/cloudevents+json")
    assert structured.status == 200, structured
    outcome.act("http-ce", "http-structured")
    answer = curl(folder, url, good, headers=attributes("0.3", "ce-"))
    assert answer.status == 400, answer
    outcome.taken, outcome.refused = outcome.taken + 1, outcome.refused + 1
    batch = b"[" + envelope("http-batch") + b"," + envelope("http-late", "2.0") + b"]"
    answers = [json.loads(line) for line in post(batch, "application/cloudevents-batch+json").body.splitlines()]
    assert [one["status"] for one in answers] == [200, 400], answers
    outcome.act("http-batch")
    outcome.taken, outcome.refused = outcome.taken + 1, outcome.refused + 1
    many = [payment(f"http-line-{at}", "card-line").encode() for at in range(20)]
    answers = [
        json.loads(line)
        for line in post(b"\n".join([*many, b"{", b"", b"[]"]), "application/x-ndjson").body.splitlines()
    ]
    assert [one["status"] for one in answers] == [200] * 20 + [400, 422], answers
    outcome.act(*[f"http-line-{at}" for at in range(20)])
    outcome.taken, outcome.refused = outcome.taken + 2, outcome.refused + 2
    assert post(payment("http-asked", "c", 0).encode()).status == 202
    outcome.taken, outcome.filtered = outcome.taken + 1, 1
    return outcome
