"""Redis, as production would have it: an append-only file, and nothing evicted."""

from __future__ import annotations

from collections.abc import Sequence

from tests.servers.port import HOST, answers
from tests.servers.server import Server
from tests.servers.tools import program


class Redis(Server):
    """A Redis server. `settings` are directives of redis.conf: `Redis({"appendfsync": "everysec"})`."""

    name = "redis"

    @property
    def address(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def executable(self) -> str:
        return program("redis-server", package="redis-server")

    def command(self) -> Sequence[str]:
        directives = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "daemonize": "no",
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            **self.settings,
        }
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in directives.items()), encoding="utf-8")
        return [self.executable(), str(config)]

    def ready(self) -> bool:
        return answers(self.port, b"PING\r\n", b"+PONG")
