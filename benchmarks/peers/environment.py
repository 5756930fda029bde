"""An environment for each peer, made the first time it is measured, under `.cache/peers` of the project.

Made with the interpreter that runs the benchmarks where the peer has wheels for it, else with the newest one that is
found as `pythonX.Y` on the path or beside this one among pyenv's versions. What was used is said in the report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".cache" / "peers"


@dataclass(frozen=True)
class Peer:
    """A library to be measured against.

    - `package`, `requirements`: its distribution, and all that is installed.
    - `pythons`: interpreters it has wheels for, the preferred first.
    - `program`, `arguments`: what runs in its environment.
    - `tuned`: whether we went beyond its documentation to make it faster.
    """

    name: str
    package: str
    requirements: tuple[str, ...]
    pythons: tuple[str, ...]
    program: str
    arguments: tuple[str, ...] = ()
    tuned: bool = False

    @property
    def folder(self) -> Path:
        return FOLDER / self.package


_BYTEWAX = ("bytewax[kafka]>=0.21", "msgspec")
_FASTSTREAM = ("faststream[confluent]>=0.7", "msgspec", "orjson")
_FAUST = ("faust-streaming[fast]>=0.11", "uvloop")
_ALL = ("3.13", "3.12", "3.11")

PEERS = (
    Peer("Bytewax", "bytewax", _BYTEWAX, _ALL[1:], "bytewax_app.py"),
    Peer("Bytewax, tuned", "bytewax", _BYTEWAX, _ALL[1:], "bytewax_app.py", tuned=True),
    Peer("Quix Streams", "quixstreams", ("quixstreams>=3.0",), _ALL, "quix_app.py"),
    Peer("FastStream", "faststream", _FASTSTREAM, _ALL, "faststream_app.py"),
    Peer("FastStream, batches", "faststream", _FASTSTREAM, _ALL, "faststream_batch_app.py"),
    Peer("FastStream, batches, tuned", "faststream", _FASTSTREAM, _ALL, "faststream_batch_app.py", tuned=True),
    Peer("Faust", "faust-streaming", _FAUST, _ALL, "faust_app.py", ("worker", "-l", "error")),
)


class Unusable(RuntimeError):
    """A peer cannot run here; the message says why."""


def prepare(peer: Peer, say: Callable[[str], None]) -> Path:
    """The interpreter of the peer's environment, made and filled if it is not there. Raises `Unusable`."""
    interpreter = peer.folder / "bin" / "python"
    if interpreter.exists() and (peer.folder / "complete").exists():
        return interpreter
    python = _find(peer)
    say(f"{peer.name}: installing {', '.join(peer.requirements)} in an environment of its own, once")
    shutil.rmtree(peer.folder, ignore_errors=True)
    for command in (
        [python, "-m", "venv", str(peer.folder)],
        [str(interpreter), "-m", "pip", "install", "--quiet", "--prefer-binary", *peer.requirements],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(peer.folder, ignore_errors=True)
            raise Unusable(f"{peer.name}: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    (peer.folder / "complete").touch()
    return interpreter


def describe(peer: Peer, interpreter: Path) -> str:
    """The versions that run: the library's and the interpreter's."""
    code = (
        "import sys, importlib.metadata as m; "
        f"print(m.version({peer.package!r}), 'on CPython', '.'.join(map(str, sys.version_info[:3])))"
    )
    done = subprocess.run([str(interpreter), "-c", code], capture_output=True, text=True, check=True)
    return f"{peer.name}: {peer.package} {done.stdout.strip()}"


def _find(peer: Peer) -> str:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own in peer.pythons:
        return sys.executable
    for version in peer.pythons:
        for candidate in _candidates(version):
            if _answers(candidate, version):
                return candidate
    raise Unusable(f"{peer.name} has no wheels for Python {own}; install one of {', '.join(peer.pythons)}")


def _candidates(version: str) -> Iterator[str]:
    found = shutil.which(f"python{version}")
    if found:
        yield found
    pyenv = shutil.which("pyenv")
    root = os.environ.get("PYENV_ROOT") or (str(Path(pyenv).resolve().parents[1]) if pyenv else "")
    if root:
        yield from map(str, sorted(Path(root).glob(f"versions/{version}.*/bin/python"), reverse=True))


def _answers(python: str, version: str) -> bool:
    """Whether this is a working interpreter of that version: pyenv leaves shims for versions that are not selected."""
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version
