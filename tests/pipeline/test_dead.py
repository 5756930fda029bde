"""`penstock dead`: letters of real stores, listed and shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.connectors import Settings, Site
from penstock.connectors.store import RedisStore
from penstock.pipeline.letters import Letter, Letters
from penstock.pipeline.post import enter
from penstock.pipeline.run import on_loop
from tests.pipeline.process import run
from tests.servers import Redis


def letter(number: int, *, stage: str = "decide", error: str = "ValueError", data: str = '{"id": 1}') -> Letter:
    return Letter(
        id=f"e{number}/{stage}",
        event=f"e{number}",
        stage=stage,
        error=error,
        reason=f"{error}: no",
        where="/app.py:12",
        attempts=3,
        at=1_700_000_000.0 + number,
        topic="payments",
        position=f"payments/0/{number}",
        key=f"card-{number % 2}",
        headers={"tenant": "blue"},
        data=data,
    )


async def write(address: str, pipeline: str, letters: list[Letter]) -> None:
    store = RedisStore(Site(Settings({"PENSTOCK_STORE": address})))
    await store.open()
    await enter(store, pipeline)
    for one in letters:
        await Letters(store, pipeline).write(one)
    await store.close()


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """A store with the letters of two pipelines."""
    with Redis() as server:
        some = [letter(number) for number in range(6)] + [letter(9, stage="in_euros", error="Reject")]
        on_loop(write(server.address, "fraud", some))
        on_loop(write(server.address, "orders", [letter(7, data="é")]))
        yield {"PENSTOCK_STORE": server.address}


def test_causes_with_their_counts(tmp_path: Path, settings: dict[str, str]) -> None:
    done = run("dead", "list", folder=tmp_path, settings=settings)
    rows = [line.split()[:4] for line in done.stdout.splitlines()[1:]]
    assert rows == [
        ["6", "fraud", "decide", "ValueError"],
        ["1", "fraud", "in_euros", "Reject"],
        ["1", "orders", "decide", "ValueError"],
    ]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--pipeline", "orders"], ["e7/decide"]),
        (["--stage", "in_euros"], ["e9/in_euros"]),
        (["--error", "Reject"], ["e9/in_euros"]),
        (["--key", "card-0", "-p", "fraud"], ["e0/decide", "e2/decide", "e4/decide"]),
        (["-p", "fraud", "--limit", "2"], ["e5/decide", "e9/in_euros"]),
        (["--stage", "nowhere"], []),
    ],
)
def test_each_letter_by_filter(tmp_path: Path, settings: dict[str, str], options: list[str], ids: list[str]) -> None:
    done = run("dead", "list", "--no-group", *options, folder=tmp_path, settings=settings)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ids


def test_one_letter_whole_and_its_payload_alone(tmp_path: Path, settings: dict[str, str]) -> None:
    shown = run("dead", "show", "e7/decide", folder=tmp_path, settings=settings)
    assert "where     /app.py:12" in shown.stdout
    assert "at        2023-11-14 22:13:27Z" in shown.stdout
    assert run("dead", "show", "e7/decide", "--payload", folder=tmp_path, settings=settings).stdout == "é"


def test_what_is_not_there(tmp_path: Path, settings: dict[str, str]) -> None:
    assert run("dead", "show", "e99/decide", folder=tmp_path, settings=settings).returncode == 1
    done = run("dead", "list", "-p", "fraudd", folder=tmp_path, settings=settings)
    assert done.returncode == 2
    assert "never seen a pipeline 'fraudd'; it knows fraud, orders" in done.stderr
