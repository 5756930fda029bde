"""A store that may lose what it has answered is refused, unless that was declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import Pipeline
from penstock.connectors import Settings, Site
from penstock.connectors.store.command import pack
from penstock.connectors.store.connection import Connection
from penstock.connectors.store.durability import Durability
from penstock.connectors.store.redis import RedisStore
from penstock.pipeline.engine.durability import objection
from tests.pipeline.doubles import Memory, bench
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


async def test_a_store_that_comes_back_less_safe_is_told_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.pipeline.engine.durability.AGAIN", 0.05)
    made = Pipeline("safe")
    made.source(Memory("in"), schema=dict[str, int]).act(str, to=Memory("out"))
    with Redis({"appendfsync": "always"}) as server:
        settings = Settings({"PENSTOCK_STORE": server.address})
        b = bench(made, store=RedisStore(Site(settings)))
        other = Connection(server.address)

        async def set_up(sync: str) -> None:
            await other.open()
            await other.ask(pack("CONFIG", "SET", "appendfsync", sync))
            await other.close()

        async def replace(sync: str) -> None:
            """As if another process had taken the server's place."""
            await set_up(sync)
            await other.open()
            await other.ask(pack("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
            await other.close()

        async with b:
            assert b.engine.problems() == []
            await replace("everysec")
            await b.until(lambda: any("appendfsync everysec" in line for line in b.engine.problems()))
            assert b.engine.statistics()["store_unsafe"] == {"safe": 1.0}
            await set_up("always")
            await b.until(lambda: b.engine.problems() == [])
            assert b.engine.statistics()["store_unsafe"] == {"safe": 0.0}
    assert "the store is back, and not as it was: it writes to disk once a second" in caplog.text
    assert "keeps what it is told again as it should" in caplog.text


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
