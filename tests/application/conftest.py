"""What the runs of the program share: a model that was trained by the command, and a house that blocks cards."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.application.process import command

HERE = Path(__file__).parent


class Cards:
    """A third party's HTTP service that is told which cards to block. `blocked` holds what it took, in order."""

    def __init__(self) -> None:
        self.blocked: list[dict[str, str]] = []
        blocked = self.blocked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Take one order."""
                blocked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/block"
        self._thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def cards() -> Iterator[Cards]:
    """The house that blocks cards."""
    house = Cards()
    yield house
    house.close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with the program's model, trained by `penstock models train`."""
    folder = tmp_path_factory.mktemp("registry")
    said = command("models", "train", str(HERE / "train.py"), variables={"PENSTOCK_MODELS": str(folder)}, folder=folder)
    assert "test-fraud@champion is version 1" in said
    return str(folder)


@pytest.fixture
def topics() -> str:
    """The beginning of every topic's name: no other test has it."""
    return f"a{uuid.uuid4().hex[:8]}."


@pytest.fixture
def variables(
    registry: str, topics: str, cards: Cards, kafka_address: str, mqtt_address: str, redis_address: str
) -> dict[str, str]:
    """Settings that name the servers which all tests share, for a run that nobody else has."""
    return {
        "PENSTOCK_KAFKA": kafka_address,
        "PENSTOCK_MQTT": mqtt_address,
        "PENSTOCK_STORE": redis_address,
        "PENSTOCK_MODELS": registry,
        "PENSTOCK_NAMESPACE": topics.rstrip("."),
        "FRAUD_TOPICS": topics,
        "FRAUD_CARDS": cards.url,
    }
