"""penstock: turn a stream of events into decisions, in well under a second, without losing one.

The names for every day are here; endpoints are in `penstock.connectors`, enrichment helpers in `penstock.stages`,
predictions and training in `penstock.models`.
"""

from penstock.connectors.event import Action, Event
from penstock.errors import BadEvent, ConfigError, DeclarationError, PenstockError, Unavailable, Undeliverable
from penstock.pipeline.declaration import Pipeline, Stream, merge
from penstock.stages.function import batched, call
from penstock.stages.outcome import Reject, Retries, Retry

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
    "merge",
]
