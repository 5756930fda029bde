"""Bytewax: the Kafka input operator, a `map` for each stage, recovery snapshots at the default interval of 10 s.

As its documentation writes it: the operator that it prefers for Kafka, the batch size of its page on performance,
`json.loads` in a `map`. With `BENCH_TUNED` as fast as we could make it: `KafkaSource` itself, which spares the operator
that sorts out errors, and msgspec.
"""

# Checked where this library is not installed, for it runs in an environment of its own.
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# pyright: reportMissingImports=false
from __future__ import annotations

import json
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSource
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from benchmarks.stages import classify, finish, in_euros, score


class _Nothing(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        """Every dataflow must have an output; here nothing is to be written."""


class _Nowhere(DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Nothing:
        return _Nothing()


brokers, topics = [os.environ["BENCH_KAFKA"]], [os.environ["BENCH_TOPIC"]]
flow = Dataflow("bench")
if os.environ.get("BENCH_TUNED"):
    loads: Any = msgspec.json.Decoder(dict).decode
    records: Any = op.input("in", flow, KafkaSource(brokers, topics, batch_size=1000))
else:
    loads = json.loads
    records = kop.input("in", flow, brokers=brokers, topics=topics, batch_size=5000).oks
payments = op.map("decode", records, lambda record: loads(record.value))
payments = op.map("in_euros", payments, in_euros)
payments = op.map("classify", payments, classify)
payments = op.map("score", payments, score)
payments = op.map("finish", payments, finish())
op.output("out", payments, _Nowhere())

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="bytewax-", dir=os.environ.get("BENCH_FOLDER")))
    init_db_dir(folder, 1)
    recovery = RecoveryConfig(folder, timedelta(0))
    cluster_main(flow, [], 0, epoch_interval=timedelta(seconds=10), recovery_config=recovery)
