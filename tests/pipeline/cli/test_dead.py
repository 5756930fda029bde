"""`penstock dead`: letters of real stores, listed and shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from penstock.connectors import Settings, Site
from penstock.connectors.store.redis import RedisStore
from penstock.pipeline.letters.letters import Letter, Letters
from penstock.pipeline.letters.register import enter
from penstock.pipeline.serving.run import on_loop
from tests.pipeline.process import ask, http_app
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
    done = ask("dead", "list", folder=tmp_path, settings=settings)
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
        (["--since", "2023-11-14T22:13:28Z"], ["e9/in_euros"]),
        (["--until", "2023-11-14T22:13:21Z"], ["e0/decide"]),
        (["--since", "2023-11-14T22:13:21Z", "--until", "2023-11-14T22:13:23+00:00"], ["e1/decide", "e2/decide"]),
        (["--since", "1h"], []),
    ],
)
def test_each_letter_by_filter(tmp_path: Path, settings: dict[str, str], options: list[str], ids: list[str]) -> None:
    done = ask("dead", "list", "--no-group", *options, folder=tmp_path, settings=settings)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ids


def test_one_letter_whole_and_its_payload_alone(tmp_path: Path, settings: dict[str, str]) -> None:
    shown = ask("dead", "show", "e7/decide", folder=tmp_path, settings=settings)
    assert "where     /app.py:12" in shown.stdout
    assert "at        2023-11-14 22:13:27Z" in shown.stdout
    assert ask("dead", "show", "e7/decide", "--payload", folder=tmp_path, settings=settings).stdout == "é"


def test_what_is_not_there(tmp_path: Path, settings: dict[str, str]) -> None:
    assert ask("dead", "show", "e99/decide", folder=tmp_path, settings=settings).returncode == 1
    done = ask("dead", "list", "-p", "fraudd", folder=tmp_path, settings=settings)
    assert done.returncode == 2
    assert "never seen a pipeline 'fraudd'; it knows fraud, orders" in done.stderr


def test_a_time_that_is_none(tmp_path: Path, settings: dict[str, str]) -> None:
    done = ask("dead", "list", "--since", "yesterday", folder=tmp_path, settings=settings)
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        ["error: 'yesterday' is no time: write how long ago (10m, 2d) or when (2024-05-01T12:00Z)"],
    )


def test_letters_out_and_back(tmp_path: Path, settings: dict[str, str]) -> None:
    """What was exported, dropped and imported again is what there was."""
    with Redis() as server:
        own = {"PENSTOCK_STORE": server.address}
        told = ask("dead", "export", folder=tmp_path, settings=settings)
        assert (told.returncode, told.stderr) == (0, "8 letters written\n")
        assert ask("dead", "import", "-", folder=tmp_path, settings=own, given=told.stdout).stderr.startswith(
            "8 letters"
        )
        assert ask("dead", "export", "all.ndjson", folder=tmp_path, settings=own).returncode == 0
        assert (tmp_path / "all.ndjson").read_text() == told.stdout
        again = ask("dead", "import", "all.ndjson", folder=tmp_path, settings=own)
        assert again.stderr == "0 letters written, 8 there already\n"

        unsure = ask("dead", "drop", "--stage", "decide", folder=tmp_path, settings=own)
        assert (unsure.returncode, "--yes" in unsure.stderr) == (2, True)
        assert ask("dead", "drop", "--yes", folder=tmp_path, settings=own).returncode == 2, "neither some nor all"
        assert ask("dead", "drop", "e9/decide", "--yes", folder=tmp_path, settings=own).returncode == 1
        dropped = ask("dead", "drop", "--key", "card-0", "-p", "fraud", "-y", folder=tmp_path, settings=own)
        assert dropped.stderr == "3 letters dropped\n"
        assert ask("dead", "drop", "e1/decide", "e7/decide", "-y", folder=tmp_path, settings=own).returncode == 0
        listed = ask("dead", "list", "--no-group", folder=tmp_path, settings=own)
        assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["e3/decide", "e5/decide", "e9/in_euros"]
        assert ask("dead", "drop", "--all", "--yes", folder=tmp_path, settings=own).stderr == "3 letters dropped\n"
        assert ask("dead", "list", folder=tmp_path, settings=own).stderr == "there is no dead letter\n"

        assert ask("dead", "import", "all.ndjson", folder=tmp_path, settings=own).stderr.startswith("8 letters written")
        back = ask("dead", "export", folder=tmp_path, settings=own)
        assert sorted(back.stdout.splitlines()) == sorted(told.stdout.splitlines())


def test_lines_that_are_no_letters(tmp_path: Path, settings: dict[str, str]) -> None:
    (tmp_path / "wrong.ndjson").write_text('{"pipeline": "fraud", "id": "1"}\n')
    done = ask("dead", "import", "wrong.ndjson", folder=tmp_path, settings=settings)
    assert (done.returncode, "line 1 is no dead letter" in done.stderr) == (2, True)


def editor(folder: Path, program: str) -> dict[str, str]:
    """An EDITOR that does this with the text of the file it is given."""
    script = folder / "editor.py"
    script.write_text(
        f"import sys\nfile = sys.argv[1]\ntext = open(file).read()\n{program}\nopen(file, 'w').write(text)\n"
    )
    return {"EDITOR": f"{sys.executable} {script}"}


ORDER = '{"id": "o1", "customer": "c1", "amount": "much"}'


def test_an_edited_payload_is_checked_and_kept_beside_the_original(tmp_path: Path) -> None:
    app = http_app(tmp_path)
    with Redis() as server:
        store = {"PENSTOCK_STORE": server.address}
        on_loop(write(server.address, "orders", [letter(1, stage="priced", data=ORDER)]))

        def edited(program: str) -> tuple[int, str]:
            own = store | editor(tmp_path, program)
            done = ask("dead", "edit", app, "e1/priced", folder=tmp_path, settings=own)
            return done.returncode, done.stderr

        assert edited("pass") == (0, "nothing was changed\n")
        code, said = edited("text = text.replace('o1', 'o2')")
        assert (code, "refused: Expected `float`, got `str` at $.amount" in said) == (1, True)
        code, said = edited("text = 'nothing'")
        assert (code, "not valid JSON" in said) == (1, True)
        code, said = edited("text = text.replace('customer', 'client').replace('\"much\"', '1')")
        assert (code, "missing required field `customer`" in said) == (1, True)
        code, said = edited("raise SystemExit(3)")
        assert (code, "exit code 3: nothing was changed" in said) == (1, True)
        assert json.loads(ask("dead", "show", "e1/priced", "--payload", folder=tmp_path, settings=store).stdout) == (
            json.loads(ORDER)
        )

        code, said = edited("text = text.replace('\"much\"', '12.5')")
        assert (code, f"now: penstock dead replay {app} e1/priced" in said) == (0, True)
        shown = ask("dead", "show", "e1/priced", "--payload", folder=tmp_path, settings=store).stdout
        assert json.loads(shown) == {"id": "o1", "customer": "c1", "amount": 12.5}
        [line] = ask("dead", "export", folder=tmp_path, settings=store).stdout.splitlines()
        assert json.loads(line)["data"] == ORDER

        assert edited("text = text.replace('12.5', '13')")[0] == 0
        [line] = ask("dead", "export", folder=tmp_path, settings=store).stdout.splitlines()
        assert json.loads(line)["data"] == ORDER, "however often it is edited"


def test_an_editor_that_cannot_be_started(tmp_path: Path, settings: dict[str, str]) -> None:
    app = http_app(tmp_path)
    own = settings | {"EDITOR": "/nowhere/editor"}
    done = ask("dead", "edit", app, "e7/decide", folder=tmp_path, settings=own)
    assert (done.returncode, "EDITOR is '/nowhere/editor', which cannot be started" in done.stderr) == (2, True)


def test_letters_whose_sender_was_informed_are_replayed_only_when_they_are_meant(tmp_path: Path) -> None:
    app = http_app(tmp_path)
    told = msgspec.structs.replace(letter(1, data=ORDER.replace('"much"', "1")), informed=True)
    with Redis() as server:
        store = {"PENSTOCK_STORE": server.address}
        on_loop(write(server.address, "orders", [told, letter(2, data=ORDER.replace('"much"', "2"))]))

        def replayed(*options: str) -> tuple[int, str]:
            done = ask("dead", "replay", app, *options, folder=tmp_path, settings=store)
            return done.returncode, done.stderr

        left_out = "1 letter left out: their senders were informed (--informed, or an id)\n"
        assert replayed("--dry-run") == (0, left_out + "1 letter would be replayed, 1 skipped\n")
        assert replayed("--dry-run", "--informed") == (0, "2 letters would be replayed, 0 skipped\n")
        assert replayed() == (0, left_out + "1 letter replayed, 0 failed again, 1 skipped\n")
        assert replayed("e1/decide") == (0, "1 letter replayed, 0 failed again, 0 skipped\n")
        code, said = replayed("e1/decide")
        assert (code, "there is no dead letter 'e1/decide'" in said) == (1, True)
