"""From a real broker through four Python stages on dicts, at least once: against peers and hand-written loops.

Measured: the rate over a turn of at least 10 s, from the first event on, of one process with one consumer over a topic
of four partitions that was filled before. Payments of 150 bytes, decoded from JSON to dicts; the four stages are the
same functions for all. Contestants:

- penstock, with each client, as `penstock run` serves it;
- a loop by hand for each client, with the same decoder: `references/kafka_confluent.py`, `references/kafka_python.py`;
- Bytewax, Quix Streams, FastStream, Faust: `peers/`, each as its documentation says. FastStream takes part twice, for
  its handler of lists is another thing: the loop over the events is the user's, and a list is acknowledged as one.
  Those called tuned go beyond their documentation, to show what is left of the difference then.

Not measured: sending actions (`kafka-to-kafka`), waiting for the store. Broker and contestant share all cores: every
client but kafka-python fetches in threads of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import topics
from benchmarks.child import Failed, Program
from benchmarks.measure import Contestant, Figure, Report, fastest, ratios, take_turns
from benchmarks.options import Client, Options
from benchmarks.payments import records
from benchmarks.peers.environment import PEERS, Peer, Unusable, describe, prepare
from tests.servers import Redis

SECONDS = 10.0
MOST = 8_000_000
"""Records in the topic at most."""

_PEERS = Path(__file__).parent / "peers"
_LOOPS = {"confluent": "benchmarks.references.kafka_confluent", "kafka-python": "benchmarks.references.kafka_python"}


def run(options: Options) -> Report:
    """All contestants in turns, each a process that ends itself."""
    seconds = options.seconds or SECONDS
    report = Report("kafka", "")
    with topics.broker() as kafka, Redis() as redis:
        field = _Field(kafka.address, redis.address, seconds, options)
        field.fill()
        contestants = field.contestants(report.notes)
        report.rates = take_turns(contestants, rounds=options.rounds, warm=False, say=options.say)
        report.notes += field.notes
    report.figures = _figures(report.rates, options.clients)
    return report


def _figures(rates: Mapping[str, Sequence[float]], clients: Sequence[Client]) -> list[Figure]:
    """penstock with each client against the loop by hand, and against the peers: as documented, and tuned by us."""
    figures = []
    documented = [peer.name for peer in PEERS if peer.name in rates and not peer.tuned]
    tuned = [peer.name for peer in PEERS if peer.name in rates and peer.tuned]
    for client in clients:
        ours, loop = f"penstock, {client}", f"hand-written, {client}"
        if ours in rates and loop in rates:
            figures.append(Figure(f"{ours} / {loop}", ratios(rates, ours, loop), 0.85))
    ours = "penstock, confluent"
    if ours in rates and documented:
        best = fastest(rates, documented)
        figures.append(Figure(f"{ours} / {best}, the fastest peer", ratios(rates, ours, best), 2.0))
    if ours in rates and tuned:
        best = fastest(rates, tuned)
        figures.append(Figure(f"{ours} / {best}", ratios(rates, ours, best)))
    return figures


class _Field:
    """The broker's topic, and who reads it."""

    def __init__(self, address: str, store: str, seconds: float, options: Options) -> None:
        self.address = address
        self.store = store
        self.seconds = seconds
        self.options = options
        self.topic = topics.name("payments")
        self.count = 0
        self.notes: list[str] = []
        topics.create(address, self.topic)

    def contestants(self, notes: list[str]) -> list[Contestant]:
        """Whoever takes part and can run here; what cannot is noted."""
        found = []
        for client in self.options.clients:
            own = {"PENSTOCK_KAFKA": self.address, "PENSTOCK_KAFKA_CLIENT": client, "PENSTOCK_STORE": self.store}
            found.append((f"hand-written, {client}", _module(_LOOPS[client], {})))
            found.append((f"penstock, {client}", _module("benchmarks.kafka_pipeline", own)))
        for peer in PEERS:
            if self.options.wants(peer.name):
                try:
                    python = prepare(peer, self.options.say)
                    self._run(_peer(peer, python), 1.0)
                except (Unusable, Failed) as error:
                    notes.append(f"{peer.name} cannot run here: {error}")
                else:
                    notes.append(describe(peer, python))
                    found.append((peer.name, _peer(peer, python)))
        return [
            Contestant(name, lambda name=name, make=make: self.turn(name, make))  # type: ignore[misc]
            for name, make in found
            if self.options.wants(name)
        ]

    def fill(self) -> None:
        """Fill the topic so that the fastest does not reach its end: a short turn tells how fast that is."""
        self.options.say("filling the topic")
        some = records(50_000)
        self.count = 1_000_000
        topics.fill(self.address, self.topic, some, self.count)
        probe = self._run(_module(_LOOPS["confluent"], {}), 2.0)
        wanted = min(MOST, int(probe["events"] / probe["seconds"] * self.seconds * 1.5))
        if wanted > self.count:
            topics.fill(self.address, self.topic, some, wanted - self.count)
            self.count = wanted
        self.options.say(f"{self.count:,} payments in {self.topic}")

    def turn(self, name: str, make: Callable[[dict[str, str]], Program]) -> float:
        """One turn. Raises `Failed` where a group confirmed more than was processed, which is not at least once."""
        found = self._run(make, self.seconds)
        if found["events"] >= self.count and found["seconds"] < self.seconds:
            self.notes.append(f"{name}: reached the end of the topic after {found['seconds']:.1f} s")
        confirmed = topics.committed(self.address, self.topic, found["group"])
        if confirmed > found["events"]:
            raise Failed(f"{name}: {confirmed:,} events confirmed of {found['events']:,} processed")
        self.options.say(f"{name}: {found['events']:,} events in {found['seconds']:.1f} s, {confirmed:,} committed")
        rate: float = found["events"] / found["seconds"]
        return rate

    def _run(self, make: Callable[[dict[str, str]], Program], seconds: float) -> dict[str, Any]:
        group = topics.name("bench")
        variables = {
            "BENCH_KAFKA": self.address,
            "BENCH_TOPIC": self.topic,
            "BENCH_GROUP": group,
            "BENCH_SECONDS": str(seconds),
            "BENCH_EVENTS": str(self.count),
        }
        return {**make(variables).result(patience=seconds + 90), "group": group}


def _module(name: str, own: dict[str, str]) -> Callable[[dict[str, str]], Program]:
    return lambda variables: Program.module(name, {**variables, **own})


def _peer(peer: Peer, python: Path) -> Callable[[dict[str, str]], Program]:
    own = {"BENCH_TUNED": "1"} if peer.tuned else {}
    return lambda variables: Program.file(python, _PEERS / peer.program, {**variables, **own}, *peer.arguments)
