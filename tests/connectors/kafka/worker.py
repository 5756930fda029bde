"""A process that reads a topic and is killed: `python -m tests.connectors.kafka.worker TOPIC COUNT VALUE...`.

It takes COUNT records, finishes all but those with the VALUEs, confirms, says how many it took and waits for its end.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from penstock.connectors import Settings, Site
from penstock.connectors.kafka.endpoint import Kafka
from tests.connectors.rig import take


async def work(topic: str, count: int, parked: Sequence[bytes]) -> None:
    source = Kafka(topic, start="earliest").source(Site(Settings(), pipeline="contract"))
    await source.open()
    taken = await take(source, count)
    for record in taken:
        if record.value not in parked:
            record.settle()
    await source.confirm()
    print(len(taken), flush=True)
    await asyncio.Event().wait()


@contextmanager
def working(variables: Mapping[str, str], topic: str, count: int, *parked: str) -> Iterator[subprocess.Popen[bytes]]:
    """Such a process, once it has confirmed; killed with -9 at the end."""
    command = [sys.executable, "-m", "tests.connectors.kafka.worker", topic, str(count), *parked]
    with subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert int(process.stdout.readline()) >= count
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), [value.encode() for value in sys.argv[3:]]))
