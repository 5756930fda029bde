"""Checking pipelines whose actions are committed with the offsets of their events."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.connectors import Endpoint, Kafka
from penstock.errors import DeclarationError, Where
from penstock.pipeline.graph import Act, Node, Source


def check_transactional(nodes: Sequence[Node], record: Endpoint | None, where: Where) -> None:
    """Refuse whatever could not be in one transaction with a transactional sink's actions."""
    acts = [(node, endpoint) for node in nodes if isinstance(node, Act) for endpoint in node.to]
    first = next(((node, at) for node, at in acts if isinstance(at, Kafka) and at.transactional), None)
    for node in nodes:
        if isinstance(node, Source) and node.forward is None:
            for at in node.endpoints:
                if isinstance(at, Kafka) and at.transactional:
                    raise DeclarationError(
                        f"{at.address} is a source: transactional=True says how actions are sent, so it is for sinks",
                        node.where,
                    )
    if first is None:
        return
    act, sink = first
    because = (
        f"{sink.address} of {act.stage!r} is transactional: "
        "it commits actions and the offsets of their events in one transaction"
    )
    for node, at in acts:
        if not (isinstance(at, Kafka) and at.transactional and at.on == sink.on):
            raise DeclarationError(
                f"{because}, and {at.address} is not in it: make every sink of the pipeline a "
                f"{_like(sink)}, or none, or act to it in a pipeline of its own",
                node.where,
            )
    if record is not None:
        raise DeclarationError(
            f"{because}, and the record {record.address} is not in it: leave record= out of this pipeline", where
        )
    for node in nodes:
        if isinstance(node, Source):
            for at in node.endpoints:
                if not (isinstance(at, Kafka) and at.on == sink.on):
                    raise DeclarationError(
                        f"{because}, and {at.address} has no offsets there: have its events in a topic of the same "
                        "cluster first, or leave transactional=True out, and actions may come twice after a crash",
                        node.where,
                    )


def _like(sink: Kafka) -> str:
    on = f", on={sink.on!r}" if sink.on else ""
    return f"Kafka(..., transactional=True{on})"
