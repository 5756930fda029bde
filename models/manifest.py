"""What a version says of itself: its inputs, its answers, how good it is, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal

import msgspec

from penstock.errors import ConfigError

FORMAT = 1

Kind = Literal["binary", "multiclass", "regression"]
InputType = Literal["float32", "float64", "string"]


class Input(msgspec.Struct, frozen=True):
    """One feature the model takes: its name, its type, and whether it may be missing (NaN)."""

    name: str
    type: InputType = "float32"
    missing: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """How far the exported model is from the one that was trained, on held-out rows.

    `off` and `flipped` are shares of `rows`: predictions further apart than `tolerance`, and decisions that differ.
    `largest` is the largest distance seen.
    """

    rows: int
    tolerance: float
    off: float
    flipped: float
    largest: float


class Probe(msgspec.Struct, frozen=True):
    """A typical row (medians and commonest values, nobody's own) and the value it got when it was published."""

    row: list[Any]
    value: float


class Manifest(msgspec.Struct, frozen=True):
    """Everything there is to know about one version, beside the model itself.

    - `inputs`: the features in the order of the model's columns; `packed` when all of them are one tensor.
    - `output`: the name of the ONNX output that is read: probabilities by class, or the number.
    - `labels`: the classes, in the order of that output's columns; the second one of two is the positive.
    - `threshold`: from this probability on, the positive label is decided (two classes only).
    - `files`: the SHA-256 digest of every other file of the version.
    """

    name: str
    kind: Kind
    inputs: list[Input]
    output: str
    probe: Probe
    comparison: Comparison
    packed: bool = True
    labels: list[str] = []
    threshold: float = 0.5
    metrics: dict[str, float] = {}
    lineage: dict[str, Any] = {}
    created: str = ""
    files: dict[str, str] = {}
    format: int = FORMAT

    def encode(self) -> bytes:
        """As the file `manifest.json` holds it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def decode_manifest(content: bytes, where: str) -> Manifest:
    """Read a `manifest.json`. Raises `ConfigError` naming `where` if it is not one, or is from a later release."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{where}: the manifest cannot be read ({error}); publish the model again") from error
    if manifest.format > FORMAT:
        raise ConfigError(
            f"{where}: the manifest has format {manifest.format}, this release reads up to {FORMAT}; upgrade penstock"
        )
    return manifest


class Version(msgspec.Struct, frozen=True):
    """One published version. `str()` of it is how a pipeline refers to it.

    >>> str(Version("card-fraud", 3, None))
    'card-fraud@3'
    """

    name: str
    number: int
    manifest: Manifest

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


def digest(content: bytes) -> str:
    """The SHA-256 digest of a file, as manifests write it.

    >>> digest(b"")[:18]
    'sha256:e3b0c44298f'
    """
    return f"sha256:{sha256(content).hexdigest()}"


def check_digests(files: Mapping[str, bytes], manifest: Manifest, where: str) -> None:
    """Refuse files that are not the ones that were published."""
    for name, expected in manifest.files.items():
        if digest(files[name]) != expected:
            raise ConfigError(
                f"{where}: {name} is not the file that was published (its SHA-256 differs); "
                f"publish the model again, or use another version"
            )
