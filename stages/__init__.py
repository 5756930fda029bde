"""What happens to an event between source and sink: transform, enrich, infer, act, and their helpers."""

if __name__ != "penstock.stages":
    raise ImportError("import this package as `penstock.stages`; its bare name would make a second copy of every class")

from penstock.stages.function import batched, call
from penstock.stages.lookup import lookup
from penstock.stages.seen import seen
from penstock.stages.state import state

__all__ = ["batched", "call", "lookup", "seen", "state"]
