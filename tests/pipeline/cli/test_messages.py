"""`penstock send` and `penstock tail` on real brokers."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import pytest

from penstock.errors import ConfigError
from penstock.pipeline.serving.sending import documents
from tests.pipeline.process import Running, ask, run


def events(count: int) -> list[dict[str, object]]:
    return [{"id": f"e{number}", "card": f"c{number % 3}"} for number in range(count)]


def lines(found: str) -> list[str]:
    return sorted(json.loads(line)["id"] for line in found.splitlines())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('{"a": 1}\n{"a": 2}\n', 2),
        ('{\n "a": 1\n}\n', 1),
        ('[{"a": 1}, {"a": 2}, {"a": 3}]', 3),
        ('[\n{"a": 1},\n{"a": 2}\n]\n', 2),
        ("\n\n", 0),
        ("5\nnull\n", 2),
    ],
)
def test_documents_of_a_file(text: str, count: int) -> None:
    assert len(list(documents(io.BytesIO(text.encode())))) == count


def test_a_line_that_is_not_json_is_named() -> None:
    with pytest.raises(ConfigError, match="line 3 is not JSON: oops"):
        list(documents(io.BytesIO(b'{"a": 1}\n\noops\n')))
    assert list(documents(io.BytesIO(b'{"a": 1}\n\noops\n'), raw=True)) == [b'{"a": 1}', b"oops"]


def test_kafka(tmp_path: Path, kafka_address: str) -> None:
    topic, settings = f"cli-{uuid.uuid4().hex}", {"PENSTOCK_KAFKA": kafka_address}
    (tmp_path / "events.json").write_text(json.dumps(events(5), indent=2))
    sent = run("send", f"kafka:{topic}", "events.json", "--create", "--key", "card", folder=tmp_path, settings=settings)
    assert sent.returncode == 0
    assert sent.stderr.endswith(f"5 events sent to kafka:{topic}\n")
    tail = run("tail", f"kafka:{topic}", "--earliest", "--full", "-n", "5", folder=tmp_path, settings=settings)
    assert tail.returncode == 0, tail.stderr
    found = [json.loads(line) for line in tail.stdout.splitlines()]
    assert sorted((one["data"]["id"], one["key"]) for one in found) == [(f"e{n}", f"c{n % 3}") for n in range(5)]
    assert all(one["type"] == "penstock.sent" for one in found)


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_a_misspelt_topic_of_kafka_is_refused_and_not_made(tmp_path: Path, kafka_address: str, client: str) -> None:
    topic = f"orders-{uuid.uuid4().hex}"
    settings = {"PENSTOCK_KAFKA": kafka_address, "PENSTOCK_KAFKA_CLIENT": client}
    made = ask("send", f"kafka:{topic}", "--create", folder=tmp_path, settings=settings, given='{"id": "1"}')
    assert made.returncode == 0, made.stderr
    for _ in range(2):
        done = ask("send", f"kafka:{topic}s", folder=tmp_path, settings=settings, given='{"id": "1"}')
        assert done.returncode == 2
        assert f"there is no topic '{topic}s'; did you mean '{topic}'? (--create sends to it" in done.stderr
    assert ask("send", f"kafka:{topic}", folder=tmp_path, settings=settings, given='{"id": "2"}').returncode == 0


def test_a_topic_of_kafka_that_is_not_there_yet_is_waited_for(tmp_path: Path, kafka_address: str) -> None:
    topic, settings = f"cli-{uuid.uuid4().hex}", {"PENSTOCK_KAFKA": kafka_address}
    with Running("tail", f"kafka:{topic}", "-n", "1", folder=tmp_path, settings=settings) as tail:
        tail.says("waiting for the first event")
        assert "there is no topic" in tail.text
        ask("send", f"kafka:{topic}", "--create", folder=tmp_path, settings=settings, given='{"id": "e0"}')
        tail.until(lambda: tail.process.poll() == 0, "waiting for the event")
        assert lines(tail.text.splitlines()[-1]) == ["e0"]


def test_a_stream_that_nobody_knows_is_told_of(tmp_path: Path, redis_address: str) -> None:
    stream, settings = f"cli-{uuid.uuid4().hex}", {"PENSTOCK_REDIS": redis_address}
    first = ask("send", f"redis:{stream}", folder=tmp_path, settings=settings, given='{"id": "1"}')
    assert first.returncode == 0
    assert f"note: there is no topic '{stream}'" in first.stderr
    again = ask("send", f"redis:{stream}", folder=tmp_path, settings=settings, given='{"id": "2"}')
    assert "note" not in again.stderr
    near = ask("send", f"redis:{stream}s", folder=tmp_path, settings=settings, given='{"id": "2"}')
    assert f"did you mean '{stream}'?" in near.stderr


def test_mqtt(tmp_path: Path, mqtt_address: str) -> None:
    topic, settings = f"cli/{uuid.uuid4().hex}", {"PENSTOCK_MQTT": mqtt_address}
    with Running("tail", f"mqtt:{topic}/+", "-n", "1", folder=tmp_path, settings=settings) as tail:
        # Until it has subscribed, what is sent is not for it.
        def heard() -> bool:
            run("send", f"mqtt:{topic}/a", folder=tmp_path, settings=settings, given=json.dumps(events(1)[0]))
            return tail.process.poll() == 0

        tail.until(heard, "waiting for the event")
        assert lines(tail.text) == ["e0"]


def test_redis(tmp_path: Path, redis_address: str) -> None:
    stream, settings = f"cli-{uuid.uuid4().hex}", {"PENSTOCK_REDIS": redis_address}
    given = "".join(json.dumps(event) + "\n" for event in events(700))
    assert run("send", f"redis:{stream}", folder=tmp_path, settings=settings, given=given).returncode == 0
    tail = run("tail", f"redis:{stream}", "--earliest", "-n", "700", folder=tmp_path, settings=settings)
    assert lines(tail.stdout) == sorted(str(event["id"]) for event in events(700))


def test_a_missing_key_field_is_named(tmp_path: Path, redis_address: str) -> None:
    settings = {"PENSTOCK_REDIS": redis_address}
    done = run("send", "redis:cli", "--key", "nope", folder=tmp_path, settings=settings, given='{"id": "1"}')
    assert done.returncode == 2
    assert "--key nope: this event has no such field" in done.stderr


def test_nobody_there_is_exit_code_1(tmp_path: Path) -> None:
    settings = {"PENSTOCK_REDIS": "redis://127.0.0.1:1/0"}
    done = run("send", "redis:cli", folder=tmp_path, settings=settings, given='{"id": "1"}')
    assert done.returncode == 1
    assert "redis:cli cannot be reached" in done.stderr
