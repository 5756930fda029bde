"""The outboxes of an engine, one for each endpoint that is acted to, and what their reports mean for its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from penstock.connectors import Endpoint, Message
from penstock.connectors.protocol import Watched
from penstock.pipeline.code import reachable
from penstock.pipeline.engine.once import Keeping
from penstock.pipeline.engine.outbox import Outbox
from penstock.pipeline.graph import Act, Source
from penstock.pipeline.place import place

if TYPE_CHECKING:
    from penstock.pipeline.engine.engine import Engine
    from penstock.pipeline.engine.lane import Lane


class Outboxes(dict[str, Outbox]):
    """By the place of an endpoint, its outbox.

    `unordered`: whether some sink keeps no order, so that keys wait for it.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    @property
    def unordered(self) -> bool:
        return any(not box.sink.ordered for box in self.values())

    def make(self) -> None:
        """Make a sink and an outbox for every endpoint, and open none. Raises `ConfigError` at a wrong setting."""
        engine = self.engine
        for endpoint in self._endpoints(engine.graph.acts):
            where = place(endpoint)
            if where == "reply" or where in self:
                continue
            sink = endpoint.sink(engine.site)
            if isinstance(sink, Watched):
                sink.watch(engine.outages)
            self[where] = self._kind(where)(
                sink,
                where,
                clock=engine.clock,
                outage=engine.outages.report,
                recovered=engine.outages.clear,
                undelivered=partial(self._undelivered, where),
                sampled=self._sampled,
                unheld=self._unheld,
                relieved=engine.gate.relieved,
            )

    def after(self, source: Source) -> list[Outbox]:
        """Those that the stages after a source act to."""
        acts = [node for node in reachable(self.engine.graph, source) if isinstance(node, Act)]
        places = {place(endpoint) for endpoint in self._endpoints(acts)}
        return [box for where, box in self.items() if where in places]

    def _endpoints(self, acts: Sequence[Act]) -> Iterator[Endpoint]:
        record = self.engine.graph.record
        for declared in [*(at for act in acts for at in act.to), *([] if record is None else [record])]:
            yield self.engine.endpoint(declared)

    def _kind(self, where: str) -> Callable[..., Outbox]:
        """What makes the outbox of an endpoint: one that keeps actions where an act declares `once`."""
        engine = self.engine
        stages = {
            act.stage: act.once
            for act in engine.graph.acts
            if act.once is not None and any(place(engine.endpoint(declared)) == where for declared in act.to)
        }
        return partial(Keeping, host=engine, pipeline=engine.site.group, stages=stages) if stages else Outbox

    # -- what a sink reports -------------------------------------------------------------------------------------

    def _sampled(self, message: Message) -> None:
        """One of the actions that were confirmed together: how long it took since its event came."""
        received = message.batch.received
        if received:
            self.engine.metrics.decided(max(self.engine.clock.monotonic() - received, 0.0))

    def _unheld(self, message: Message) -> None:
        for lane in self.engine.lanes:
            lane.unhold(message)

    def _undelivered(self, where: str, message: Message, error: BaseException) -> None:
        self._lane(message).trouble.undelivered(message, where, error)

    def _lane(self, message: Message) -> Lane:
        lanes = self.engine.lanes
        return next((lane for lane in lanes if message.batch in lane.open), lanes[0])
