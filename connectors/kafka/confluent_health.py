"""Whether a consumer on confluent-kafka reaches its brokers: what the client reports, and questions of our own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.connectors.kafka.confluent_client import PROBE

if TYPE_CHECKING:
    import confluent_kafka as ck


class ConfluentHealth:
    """Tells of trouble, and of its end.

    - `refused`: why the brokers do not let us in, empty where they do.
    - `down`: there was trouble, and nothing has come since.
    """

    def __init__(self, topic: str, tell: Callable[[str | None], None]) -> None:
        self.topic = topic
        self.refused = ""
        self.down = False
        self._tell = tell
        self._probed = 0.0

    def reset(self) -> None:
        """Another client is made."""
        self.refused, self.down = "", False

    def trouble(self, error: ck.KafkaError) -> None:
        """The client's `error_cb`."""
        import confluent_kafka as ck

        if error.code() == ck.KafkaError._AUTHENTICATION:
            self.refused = error.str()
        # One broker of several that goes away is none of ours.
        if error.code() in (ck.KafkaError._TRANSPORT, ck.KafkaError._RESOLVE, ck.KafkaError._MAX_POLL_EXCEEDED):
            return
        self.down = True
        self._tell(error.str())

    def probe(self, consumer: ck.Consumer) -> None:
        """While there is trouble, see whether it is over."""
        now = time.monotonic()
        if not self.down or now - self._probed < PROBE:
            return
        self._probed = now
        import confluent_kafka as ck

        try:
            found = consumer.list_topics(self.topic, timeout=PROBE)
        except ck.KafkaException:
            return
        if found.topics[self.topic].error is None:
            self.well()

    def well(self) -> None:
        """Something has come, so there is no trouble."""
        self.down = False
        self._tell(None)
