"""Clients that are not ours: kcat, mosquitto_pub, curl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.servers.tools import program

PATIENCE = 120.0


def kcat_produce(
    address: str,
    topic: str,
    records: Sequence[bytes],
    *,
    headers: Mapping[str, str] | None = None,
    keys: Sequence[str] | None = None,
    null: bool = False,
    largest: int = 1_000_000,
    partition: int | None = None,
) -> None:
    """Produce records, and return when the broker has confirmed them. With `null`, empty ones have no value at all."""
    options = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}={value}")]
    options += ["-Z"] if null else []
    options += ["-K", "\t"] if keys is not None else []
    options += ["-p", str(partition)] if partition is not None else []
    options += ["-X", f"message.max.bytes={largest}"]
    body = b"".join(
        (f"{keys[at]}\t".encode() if keys is not None else b"") + record + b"\x1e" for at, record in enumerate(records)
    )
    _run([program("kcat", package="kcat"), "-P", "-b", address, "-t", topic, "-D", "\x1e", *options], body)


@dataclass(frozen=True, slots=True)
class Record:
    """What kcat read from a topic."""

    key: str
    value: str
    headers: Mapping[str, str]
    partition: int
    offset: int


def kcat_consume(address: str, topic: str) -> list[Record]:
    """All that a topic holds; nothing where there is no such topic."""
    # It ends when an answer brings nothing: where somebody writes all the time, an answer that waits always has some.
    options = ["-C", "-b", address, "-t", topic, "-o", "beginning", "-e", "-q", "-J", "-X", "fetch.wait.max.ms=10"]
    output = _run([program("kcat", package="kcat"), *options], b"", allowed="Unknown topic or partition")
    found = []
    for line in output.splitlines():
        one = json.loads(line)
        names = one.get("headers") or []
        headers = dict(zip(names[::2], names[1::2], strict=True))
        found.append(Record(one["key"] or "", one["payload"] or "", headers, one["partition"], one["offset"]))
    return found


def mosquitto_pub(
    address: str,
    topic: str,
    payload: bytes,
    *,
    lines: bool = False,
    properties: Mapping[str, str] | None = None,
    content_type: str = "",
) -> None:
    """Publish with QoS 1 over MQTT 5: the payload, or each line of it, and return when all are confirmed."""
    options = [
        part for name, value in (properties or {}).items() for part in ("-D", "publish", "user-property", name, value)
    ]
    options += ["-D", "publish", "content-type", content_type] if content_type else []
    how = "-n" if not payload else "-l" if lines else "-s"
    parts = urlsplit(address)
    command = [program("mosquitto_pub", package="mosquitto-clients"), "-h", str(parts.hostname), "-p", str(parts.port)]
    _run([*command, "-V", "5", "-q", "1", "-t", topic, *options, how], payload)


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl was answered; status 0 where it got no answer."""

    status: int
    body: str


def curl(
    folder: Path,
    url: str,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """POST a body."""
    sent, heard = folder / "sent", folder / "heard"
    sent.write_bytes(body)
    heard.unlink(missing_ok=True)
    options = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        [
            *(program("curl", package="curl"), "-sS", "-X", "POST", "--data-binary", f"@{sent}", "-o", str(heard)),
            *("-H", f"Content-Type: {content_type}", *options, "-w", "%{http_code}", "--max-time", "60", url),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Answer(int(done.stdout or 0), heard.read_text(errors="replace") if heard.exists() else "")


def _run(command: Sequence[str], body: bytes, *, allowed: str = "") -> str:
    done = subprocess.run(command, input=body, capture_output=True, timeout=PATIENCE, check=False)
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0 or (allowed and allowed in said), f"{' '.join(command)}: {said}"
    return done.stdout.decode()


def make_topic(address: str, topic: str, *, partitions: int = 1, largest: int = 1_000_000) -> None:
    """Make a topic that takes records of this size."""
    wanted = NewTopic(topic, partitions, 1, config={"max.message.bytes": str(largest)})
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([wanted])[topic].result(PATIENCE)
