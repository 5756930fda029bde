"""One event in a hundred is poison: a dead letter each, which somebody mends and replays, while workers are killed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.application.process import Process, command, until
from tests.chaos.conftest import TALLY
from tests.chaos.counters import right
from tests.chaos.ledger import Ledger
from tests.chaos.senders import SHOPS, ThroughKafka
from tests.chaos.tally import Step
from tests.chaos.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

ONE_IN = 100
LETTERS = 4
"""Poisoned events after which there are enough."""

MEND = """#!/bin/sh
sed -i -E 's/"shop": *-/"shop":/; s/"shop": *"([0-9]+)"/"shop":\\1/' "$1"
"""
"""An editor."""


def poisoned(step: Step) -> bool:
    """Whether an event is sent as poison."""
    return int(step.id.rpartition("-")[2]) % ONE_IN == ONE_IN - 1


class Poisoning(ThroughKafka):
    """Of the poison one half cannot be read, the other fails after it was counted."""

    size = 25

    def wave(self, steps: Sequence[Step]) -> None:
        super().wave(steps)
        if len(self.sent) + len(steps) >= LETTERS * ONE_IN:
            self._end.set()

    def encode(self, step: Step) -> bytes:
        if not poisoned(step):
            return msgspec.json.encode(step)
        number = int(step.id.rpartition("-")[2])
        shop = -step.shop if number % (2 * ONE_IN) == ONE_IN - 1 else str(step.shop)
        return msgspec.json.encode({"id": step.id, "key": step.key, "shop": shop})


def test_poison_is_mended_and_replayed(program: Process, topics: str, seed: int, tmp_path: Path) -> None:
    assert SHOPS % ONE_IN and (ONE_IN - 1) % SHOPS, "no shop of poison is 0, which has no other sign"
    program.variables["TALLY_DOORS"] = "kafka"
    kafka, mqtt, store = (program.variables[f"PENSTOCK_{name}"] for name in ("KAFKA", "MQTT", "STORE"))
    name = f"{program.variables['PENSTOCK_NAMESPACE']}.tally"
    with Trial(program, topics, seed, kafka=kafka, mqtt=mqtt, redis=store, doors=("none",)) as tried:
        sender = Poisoning(kafka, f"{topics}in")
        tried.begin(sender)
        for _ in range(2):
            tried.come_further(LETTERS * ONE_IN // 5)
            program.kill()
            program.start(wait=False)
        sender.join()
        poison = {step.id for step in sender.sent if poisoned(step)}
        good = [step for step in sender.sent if step.id not in poison]
        until(lambda: not tried.ledger.missing(good), lambda: f"the others are acted on\n{program.tail()}")
        until(lambda: len(letters(program, name)) == len(poison), lambda: f"{letters(program, name)}: {program.tail()}")
        mend(program, letters(program, name), tmp_path)
        command("dead", "replay", str(TALLY), variables=program.variables, folder=tmp_path)
        assert letters(program, name) == []
        check(tried.ledger, sender.sent, poison)
        right(store, name, sender.sent)
        assert program.stop() == 0, program.tail()


def letters(program: Process, name: str) -> list[str]:
    """The ids of the letters that there are."""
    said = command("dead", "export", "--pipeline", name, variables=program.variables, folder=program.folder)
    return [json.loads(line)["id"] for line in said.splitlines() if line.startswith("{")]


def mend(program: Process, ids: Sequence[str], folder: Path) -> None:
    """Edit each letter as an operator does."""
    editor = folder / "mend"
    editor.write_text(MEND, encoding="utf-8")
    editor.chmod(0o755)
    variables = {**program.variables, "EDITOR": str(editor), "VISUAL": ""}
    for id in ids:
        command("dead", "edit", str(TALLY), id, variables=variables, folder=folder)


def check(ledger: Ledger, sent: Sequence[Step], poison: set[str]) -> None:
    """Every event has its actions and its place in the counts, poison included; it alone comes after its time."""
    assert ledger.missing(sent) == []
    ledger.check(sent, ordered=("kafka",), late=poison)
