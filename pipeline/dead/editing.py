"""Editing the payload of a dead letter: in the user's own editor, checked against the pipeline's schema."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from penstock.errors import ConfigError, PenstockError
from penstock.pipeline.dead.stock import entry
from penstock.pipeline.engine.records import keys_of
from penstock.pipeline.engine.verdict import reason_of
from penstock.pipeline.graph import Graph, Source
from penstock.pipeline.letters.again import LetterBatch
from penstock.pipeline.letters.letters import Letter
from penstock.stages.payload import decoder, getter, is_mapping, refused


def entry_of(graph: Graph, letter: Letter) -> Source:
    """The source stage that a letter's event came in by. Raises `PenstockError` where the pipeline has it no more."""
    stage = entry(graph, letter)
    for source in graph.sources:
        if source.stage == stage:
            return source
    raise PenstockError(
        f"{letter.id} came in by {letter.entry!r}, which {graph.name} has no more; "
        f"it has {', '.join(source.stage for source in graph.sources)}"
    )


def refusal(source: Source, letter: Letter) -> str:
    """Why the payload of a letter is none of this source's events; empty where it is one."""
    batch = LetterBatch(letter)
    mapping = is_mapping(source.schema)
    get = getter(source.key, mapping) if source.key is not None else None
    try:
        [value] = batch.values
        if isinstance(value, Exception):
            raise value
        captured = batch.captures is not None
        decode = decoder(source.schema, source.decode, captured)
        payload = decode(value, batch, 0) if captured else decode(value)
        keys_of("key", get, str(source.key))(payload, batch, 0)
    except Exception as error:  # a user's own decode= may raise anything
        return reason_of(refused(error) or error)
    return ""


def edit(letter: Letter, again: Callable[[str], bool], source: Source) -> Letter | None:
    """The letter with what the user made of its payload; None where it was left as it was.

    What does not fit the source is not taken: `again` is asked, with the reason, whether to go on editing. Raises
    `PenstockError` with the reason where it is not.
    """
    shown = legible(LetterBatch(letter).values[0], letter.payload)
    text = shown
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        file = Path(folder) / "payload.json"
        while True:
            file.write_bytes(text)
            _open(file)
            text = file.read_bytes()
            if text.strip() == shown.strip():
                return None
            edited = letter.amended(text.strip())
            reason = refusal(source, edited)
            if not reason:
                return edited
            if not again(reason):
                raise PenstockError(f"{letter.id} is left as it was, for the edited payload is refused: {reason}")


def legible(value: Any, payload: bytes) -> bytes:
    """JSON in lines, anything else as it is."""
    text: bytes = value if isinstance(value, bytes) else payload
    try:
        return msgspec.json.format(text, indent=2) + b"\n"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return text


def _open(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    except OSError as error:
        raise ConfigError(f"EDITOR is {editor!r}, which cannot be started ({error.strerror})") from None
    if code:
        raise PenstockError(f"the editor {editor!r} ended with exit code {code}: nothing was changed")
