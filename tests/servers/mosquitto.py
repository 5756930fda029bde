"""Mosquitto, with sessions and queues that lose nothing by default."""

from __future__ import annotations

import getpass
from collections.abc import Sequence

from tests.servers.port import HOST, answers
from tests.servers.server import Server
from tests.servers.tools import program

# MQTT 3.1.1: CONNECT with a clean session and no client id; CONNACK, accepted.
CONNECT = bytes.fromhex("100c00044d5154540402003c0000")
CONNACK = bytes.fromhex("20020000")


class Mosquitto(Server):
    """A Mosquitto broker. `settings` are options of mosquitto.conf: `Mosquitto({"max_queued_messages": "100"})`."""

    name = "mosquitto"

    @property
    def address(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    def command(self) -> Sequence[str]:
        options = {
            # Started by root it would become another user, who may not write to the folder.
            "user": getpass.getuser(),
            "allow_anonymous": "true",
            "persistence": "true",
            "persistence_location": f"{self.folder}/",
            "autosave_interval": "5",
            # Unlimited: by default the broker drops what it has acknowledged once 1000 messages wait.
            "max_queued_messages": "0",
            "max_inflight_messages": "0",
            "set_tcp_nodelay": "true",
            "log_dest": "stderr",
            "log_type": "warning",
            **self.settings,
        }
        # Global options stand before the listener, which takes those that follow it for its own.
        lines = [*(f"{name} {value}" for name, value in options.items()), f"listener {self.port} {HOST}"]
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [program("mosquitto", package="mosquitto"), "-c", str(config)]

    def ready(self) -> bool:
        return answers(self.port, CONNECT, CONNACK)
