"""Bytewax: `KafkaSource`, a `map` for each stage, recovery snapshots at the default interval of 10 s.

The batch size is documented as the knob for throughput; its default of 1000 was as fast as 10,000 here.
"""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.connectors.kafka import KafkaSource
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


decode = msgspec.json.Decoder(dict).decode

flow = Dataflow("bench")
records = op.input("in", flow, KafkaSource([os.environ["BENCH_KAFKA"]], [os.environ["BENCH_TOPIC"]], batch_size=1000))
payments = op.map("decode", records, lambda record: decode(record.value))
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
