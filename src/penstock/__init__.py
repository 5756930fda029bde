"""penstock: turn a stream of events into decisions, in well under a second, without losing one.

The names for every day are here; endpoints are in `penstock.connectors`, enrichment helpers in `penstock.stages`,
predictions and training in `penstock.models`.
"""

from typing import TYPE_CHECKING, Any

from penstock.connectors.event import Action, Event
from penstock.errors import BadEvent, ConfigError, DeclarationError, PenstockError, Unavailable, Undeliverable
from penstock.pipeline.declaration.pipeline import Pipeline, Stream, merge
from penstock.stages.function import batched, call
from penstock.stages.outcome import Reject, Retries, Retry

if TYPE_CHECKING:
    from penstock.pipeline.testing.harness import harness

__all__ = [
    "Action",
    "BadEvent",
    "ConfigError",
    "DeclarationError",
    "Event",
    "PenstockError",
    "Pipeline",
    "Reject",
    "Retries",
    "Retry",
    "Stream",
    "Unavailable",
    "Undeliverable",
    "batched",
    "call",
    "harness",
    "merge",
]


def __getattr__(name: str) -> Any:
    """`harness` brings the whole engine with it, which a declaration has no use for."""
    if name == "harness":
        from penstock.pipeline.testing.harness import harness

        return harness
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
