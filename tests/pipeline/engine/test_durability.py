"""A store that may lose what it has answered is refused, unless that was declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.connectors.store.durability import Durability
from penstock.pipeline.engine.durability import objection
from tests.pipeline.process import Running, http_app, run
from tests.servers import Redis

DISK, SECOND = Durability("disk", "appendfsync always"), Durability("second", "appendfsync everysec")
MEMORY, UNKNOWN = Durability("memory", "appendonly no"), Durability("unknown", "NOPERM")


@pytest.mark.parametrize(
    ("found", "declared", "refused"),
    [
        (DISK, "", False),
        (DISK, "disk", False),
        (DISK, "second", False),
        (SECOND, "", True),
        (SECOND, "disk", True),
        (SECOND, "second", False),
        (MEMORY, "", True),
        (MEMORY, "disk", True),
        (MEMORY, "second", True),
        (UNKNOWN, "", True),
        (UNKNOWN, "disk", False),
        (UNKNOWN, "second", False),
    ],
)
def test_what_is_declared_decides_what_is_accepted(found: Durability, declared: str, refused: bool) -> None:
    said = objection(found, declared)
    assert bool(said) == refused
    assert not said or (found.said in said and "PENSTOCK_DURABILITY=" in said)


@pytest.mark.slow
def test_a_pipeline_begins_only_on_a_store_that_keeps_its_letters(tmp_path: Path) -> None:
    app = http_app(tmp_path)
    with Redis() as server:
        store = {"PENSTOCK_STORE": server.address}
        refused = run("run", app, folder=tmp_path, settings={**store, "PENSTOCK_DURABILITY": ""})
        assert refused.returncode == 2
        [line] = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
        assert "appendfsync everysec" in line and "set appendonly yes and appendfsync always" in line
        wrong = run("run", app, folder=tmp_path, settings={**store, "PENSTOCK_DURABILITY": "often"})
        assert (wrong.returncode, "PENSTOCK_DURABILITY is 'often'" in wrong.stderr) == (2, True)
        with Running("run", app, folder=tmp_path, settings={**store, "PENSTOCK_DURABILITY": "second"}) as running:
            running.ready()
    with (
        Redis({"appendfsync": "always"}) as server,
        Running(
            "run", app, folder=tmp_path, settings={"PENSTOCK_STORE": server.address, "PENSTOCK_DURABILITY": ""}
        ) as running,
    ):
        running.ready()
