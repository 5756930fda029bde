"""MQTT: topics of a broker as endpoints."""

from __future__ import annotations

from hashlib import blake2s
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

import msgspec

from penstock.connectors import template
from penstock.connectors.mqtt.broker import broker
from penstock.connectors.site import Site
from penstock.errors import ConfigError, DeclarationError

if TYPE_CHECKING:
    from penstock.connectors.mqtt.sink import MqttSink
    from penstock.connectors.mqtt.source import MqttSource


class Mqtt(msgspec.Struct, frozen=True):
    """An MQTT topic, over MQTT 5 with QoS 1.

    As a source, `+`, a trailing `#` and `{captures}` match; each brace takes one whole level of the topic and fills
    the payload's field of that name. A message is acknowledged when it is finished, in the order of receipt, in a
    session that the broker keeps for ever: what arrives while the process is away waits there. Messages that were
    not finished come again. Several workers share the topic (`$share`), and so do several hosts: give each a lasting
    name, `PENSTOCK_HOST`. When there are fewer workers than before, the first takes over what waits for the others.

    As a sink, braces are filled from the action's fields and then the payload's; a message is confirmed when the
    broker has acknowledged it. `retain` makes it the last known value of its topic. `qos=0` gives up confirmation.

    `on` names the connection: `Mqtt("t", on="eu")` is at `PENSTOCK_MQTT__EU`, by default `PENSTOCK_MQTT`.

    >>> Mqtt("terminals/{terminal}/payments").filter
    'terminals/+/payments'
    """

    positions: ClassVar[bool] = False

    topic: str
    on: str = ""
    qos: int = 1
    retain: bool = False

    def __post_init__(self) -> None:
        if self.qos not in (0, 1):
            why = (
                "after a crash QoS 2 loses what was received and not finished" if self.qos == 2 else "there is 0 and 1"
            )
            raise DeclarationError(f"{self.address}: qos is {self.qos}: write qos=1 ({why})")
        if not self.topic or "\0" in self.topic or len(self.topic.encode()) > 65535:
            raise DeclarationError(f"{self.address}: a topic has 1 to 65535 bytes, none of them zero")
        try:
            template.check(self.topic)
        except ValueError as error:
            raise DeclarationError(f"{self.address}: {error}") from None

    @property
    def address(self) -> str:
        """Its one-line name: `mqtt:payments`."""
        return f"mqtt:{self.topic}"

    @property
    def filter(self) -> str:
        """What is subscribed to: the topic with `+` in place of each capture. Raises `DeclarationError`."""
        levels = self.topic.split("/")
        names = template.names(self.topic)
        if len(set(names)) < len(names):
            raise DeclarationError(f"{self.address}: a name is captured twice")
        for number, level in enumerate(levels):
            if template.names(level):
                if not (level.startswith("{") and level.endswith("}") and level.count("{") == 1 and "." not in level):
                    raise DeclarationError(f"{self.address}: {level!r}: a capture is one whole level, like /{{card}}/")
                levels[number] = "+"
            elif (level != "+" and "+" in level) or ("#" in level and (level != "#" or number < len(levels) - 1)):
                raise DeclarationError(f"{self.address}: + is a whole level, # is the whole last level")
        return "/".join(levels)

    def source(self, site: Site) -> MqttSource:
        """A source that is not open yet. Raises `ConfigError` or `DeclarationError`."""
        from penstock.connectors.mqtt.former import Former, FormerSource
        from penstock.connectors.mqtt.source import MqttSource

        self._need_client()
        process, found = site.settings.process, broker(site.settings, self.on)
        plain, shared = self.filter, f"$share/{site.group}/{self.filter}"
        if process.workers == 1 and not process.host:
            subscription, before = plain, shared
        else:
            subscription, before = shared, plain
        # The same at every start, or the session and what waits in it would not be found again.
        digest = blake2s(plain.encode(), digest_size=4).hexdigest()
        group = f"{site.group}.{process.host}" if process.host else site.group

        def name(worker: int) -> str:
            return f"{group}.{worker}.{digest}"

        if site.worker:
            return MqttSource(self, found, name(site.worker), subscription, before=before)
        former = Former(
            lambda worker: FormerSource(self, found, name(worker), subscription, before=before), process.workers
        )
        return MqttSource(self, found, name(0), subscription, before=before, former=former)

    def sink(self, site: Site) -> MqttSink:
        """A sink that is not open yet. Raises `ConfigError` or `DeclarationError`."""
        from penstock.connectors.mqtt.sink import MqttSink, Publisher

        self._need_client()
        if "+" in self.topic or "#" in self.topic:
            raise DeclarationError(f"{self.address}: + and # are for sources; an action goes to one topic")
        found = broker(site.settings, self.on)
        publisher = site.share(f"{found.name} publisher", lambda: Publisher(found, site))
        return MqttSink(self, publisher)

    def _need_client(self) -> None:
        if find_spec("paho") is None:
            raise ConfigError(f"{self.address} needs paho-mqtt: pip install 'penstock[mqtt]'")
