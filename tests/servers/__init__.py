"""Real servers, started on demand on free ports in a temporary folder, gone when their starter is gone.

    with Kafka() as kafka:
        connect(kafka.address)
        kafka.kill()          # as `kill -9` would; `stop`, `pause` and `resume` too
        kafka.start()         # same port, same data

From a shell, `python -m tests.servers kafka mosquitto redis` starts them and prints their addresses as settings.
"""

from __future__ import annotations

from tests.servers.kafka import Kafka
from tests.servers.mosquitto import Mosquitto
from tests.servers.redis import Redis
from tests.servers.server import Server, ServerFailed
from tests.servers.tools import MissingTool
from tests.servers.valkey import Valkey

__all__ = ["Kafka", "MissingTool", "Mosquitto", "Redis", "Server", "ServerFailed", "Valkey"]
