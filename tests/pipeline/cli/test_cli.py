"""The command line as its users meet it: help, exit codes, errors of one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.process import ask, http_app, run, topics_app

COMMANDS = [
    ["new"],
    ["check"],
    ["graph"],
    ["dev"],
    ["run"],
    ["send"],
    ["tail"],
    ["dead", "list"],
    ["dead", "show"],
    ["dead", "edit"],
    ["dead", "replay"],
    ["dead", "drop"],
    ["dead", "export"],
    ["dead", "import"],
    ["models", "train"],
    ["models", "list"],
    ["models", "show"],
    ["models", "promote"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(tmp_path: Path, command: list[str]) -> None:
    done = ask(*command, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert "Example:" in done.stdout
    assert f"penstock {' '.join(command)}" in " ".join(done.stdout.split())


def test_the_version_and_the_exit_codes_are_told(tmp_path: Path) -> None:
    assert run("--version", folder=tmp_path).stdout.startswith("penstock ")
    assert "Exit codes: 0 it went well, 1 it failed, 2" in " ".join(run("--help", folder=tmp_path).stdout.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.py"], "error: there is no file nowhere.py"),
        (["check", "wrong.py"], "leads nowhere"),
        (["run", "orders.py"], "PENSTOCK_STORE is not set"),
        (["graph"], "Missing argument"),
        (["nothing"], "No such command"),
        (["send", "payments"], "'payments' is no address"),
        (["tail", "http:/payments"], "cannot be followed"),
        (["dead", "list"], "PENSTOCK_STORE is not set"),
        (["models", "show", "nothing@champion"], "PENSTOCK_MODELS) is no folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_is_wrong_is_said_without_a_traceback(tmp_path: Path, arguments: list[str], said: str) -> None:
    http_app(tmp_path)
    (tmp_path / "wrong.py").write_text(
        "from penstock import Pipeline\nfrom penstock.connectors import Kafka\n"
        "one = Pipeline('one')\none.source(Kafka('in'), schema=str)\n"
    )
    done = (run if arguments[0] == "run" else ask)(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_run_names_every_missing_address_at_once(tmp_path: Path) -> None:
    done = run("run", topics_app(tmp_path), folder=tmp_path)
    assert done.returncode == 2
    assert [line.split()[0 if number else 1] for number, line in enumerate(done.stderr.splitlines())] == [
        "PENSTOCK_STORE",
        "PENSTOCK_KAFKA",
        "PENSTOCK_MQTT",
    ]


def test_check_says_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    app = topics_app(tmp_path)
    done = ask("check", app, folder=tmp_path)
    assert done.returncode == 0
    assert "orders is well declared" in done.stdout
    assert "reads    kafka:orders, mqtt:shops/{customer}/orders" in done.stdout
    assert "acts to  kafka:confirmed, mqtt:confirmed/{customer}" in done.stdout
    assert "missing  PENSTOCK_KAFKA is not set" in done.stdout
    assert ask("check", "--strict", app, folder=tmp_path).returncode == 2


def test_a_misspelt_setting_is_told_of(tmp_path: Path) -> None:
    app = topics_app(tmp_path)
    settings = {"PENSTOCK_KAFAK": "localhost:9092", "PENSTOCK_DEAD_LIMITS": "7", "PENSTOCK_X": "?"}
    told = ask("check", app, folder=tmp_path, settings=settings).stdout
    assert (
        "PENSTOCK_KAFKA is not set: the Kafka bootstrap servers, for example localhost:9092; is PENSTOCK_KAFAK" in told
    )
    assert "PENSTOCK_DEAD_LIMITS is no setting: did you mean PENSTOCK_DEAD_LIMIT?" in told
    assert told.count("is no setting") == 2
    told = run("run", app, folder=tmp_path, settings=settings).stderr
    assert "PENSTOCK_DEAD_LIMITS is no setting: did you mean PENSTOCK_DEAD_LIMIT?" in told


def test_where_nothing_is_developed_another_folder_may_be_meant(tmp_path: Path) -> None:
    told = ask("dead", "list", folder=tmp_path).stderr
    assert told.endswith("redis://localhost:6379/0; or change to the folder where `penstock dev` runs\n")


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    done = run("run", http_app(tmp_path), folder=tmp_path, settings={"PENSTOCK_WORKERS": "many"})
    assert done.returncode == 2
    assert done.stderr.startswith("error: PENSTOCK_WORKERS is 'many'")
    assert done.stderr.count("\n") == 1


def test_graph_draws_a_tree_a_flowchart_and_the_code(tmp_path: Path) -> None:
    app = http_app(tmp_path)
    assert "act       confirm() ⇒ reply" in ask("graph", app, folder=tmp_path).stdout
    assert ask("graph", app, "--mermaid", folder=tmp_path).stdout.startswith("flowchart LR\n")
    assert "def run(" in ask("graph", app, "--code", folder=tmp_path).stdout
