"""The files that put penstock into containers agree with each other, and open nothing to the world."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.compose.engine import ROOT
from tests.compose.images import STAND_INS


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_image_that_is_named_can_be_stood_in_for() -> None:
    default = re.search(r"^ARG PYTHON=(\S+)$", text("Dockerfile"), re.M)
    assert default is not None
    named = {f"python:{default[1]}", *re.findall(r"^ +image: (\S+)$", text("compose.yaml"), re.M)}
    assert named - {"penstock", "penstock-train"} == set(STAND_INS)


def test_every_port_is_bound_to_this_machine_alone() -> None:
    ports = re.findall(r"^ +ports:\n((?: +- .*\n)+)", text("compose.yaml"), re.M)
    lines = [line.strip() for block in ports for line in block.splitlines()]
    assert len(lines) >= 5
    assert [line for line in lines if not line.startswith('- "127.0.0.1:')] == []


def test_the_image_asks_for_what_its_extras_ask_for() -> None:
    command = [sys.executable, str(ROOT / "deploy" / "requirements.py"), "http", "train"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = {re.split(r"[^a-z0-9-]", line)[0] for line in done.stdout.splitlines()}
    assert {"msgspec", "aiohttp", "scikit-learn", "onnxruntime"} <= names
    assert "penstock" not in names
    assert "redis" not in names


def test_no_build_sees_secrets_or_leftovers() -> None:
    ignored = text(".dockerignore").splitlines()
    assert ignored[0] == "*"
    assert {"**/.env", "**/.penstock"} <= set(ignored)
