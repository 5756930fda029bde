"""Models: trained and published offline, loaded and run online."""

from __future__ import annotations

if __name__ != "penstock.models":
    raise ImportError("import this package as `penstock.models`; its bare name would make a second copy of every class")

from typing import TYPE_CHECKING, Any

from penstock.models.batcher import Answer, Batcher, Statistics
from penstock.models.manifest import Manifest, Version
from penstock.models.prediction import Prediction
from penstock.models.registry import Move, Registry, open_registry
from penstock.models.session import Model

if TYPE_CHECKING:
    from penstock.models.script import Progress, report
    from penstock.models.tabular import Table, table
    from penstock.models.training import promote, publish

_OFFLINE = {
    "Progress": "script",
    "Table": "tabular",
    "promote": "training",
    "publish": "training",
    "report": "script",
    "table": "tabular",
}

__all__ = [
    "Answer",
    "Batcher",
    "Manifest",
    "Model",
    "Move",
    "Prediction",
    "Progress",
    "Registry",
    "Statistics",
    "Table",
    "Version",
    "open_registry",
    "promote",
    "publish",
    "report",
    "table",
]


def __getattr__(name: str) -> Any:
    """What only training scripts use is imported when it is first asked for."""
    from importlib import import_module

    if name in _OFFLINE:
        return getattr(import_module(f"penstock.models.{_OFFLINE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
