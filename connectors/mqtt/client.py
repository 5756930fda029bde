"""What is asked of paho: a client that speaks MQTT 5 over a socket we give it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from penstock.connectors.mqtt.broker import Broker
from penstock.connectors.mqtt.packet import message
from penstock.connectors.mqtt.socket import Buffered

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

FOREVER = 0xFFFFFFFF


class Owner(Protocol):
    """Who hears what happens on a link. Everything is called on the loop."""

    def up(self, resumed: bool) -> None:
        """The broker has accepted us; `resumed` where it still knows our session."""

    def down(self) -> None:
        """The connection is lost. The link comes back by itself."""

    def arrived(self, message: MQTTMessage) -> None:
        """A message."""

    def published(self, mid: int, reason: ReasonCode) -> None:
        """The broker has answered a message of ours."""

    def read(self) -> None:
        """Everything that this tick brought has been passed on."""


def make(broker: Broker, client_id: str, connection: Callable[[], Buffered | None]) -> Client:
    """A client that uses whatever `connection` gives, and confirms what it receives only when told to."""
    from paho.mqtt import MQTTException
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

    class Plugged(Client):
        """A client whose socket was opened beforehand, off the loop, and that reads every message."""

        def _create_socket(self) -> Buffered:
            found = connection()
            assert found is not None
            return found

        def _handle_publish(self) -> MQTTErrorCode:
            try:
                return super()._handle_publish()
            except MQTTException:
                read = self._in_packet
                self._handle_on_message(message(read["command"], bytes(read["packet"])))
                return MQTTErrorCode.MQTT_ERR_SUCCESS

    client = Plugged(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5, manual_ack=True)
    client.max_inflight_messages_set(0)  # its own bound walks over everything in flight at each answer
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    return client


def dial(broker: Broker, context: ssl.SSLContext | None, timeout: float) -> socket.socket:
    """A connected socket, its TLS handshake done. Blocks; raises OSError."""
    try:
        raw = socket.create_connection((broker.host, broker.port), timeout=timeout)
    except UnicodeError as error:  # a name that no host can have
        raise OSError(str(error)) from None
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            raw = context.wrap_socket(raw, server_hostname=broker.host)
        raw.setblocking(False)
    except BaseException:
        raw.close()
        raise
    return raw


def greet(client: Client, broker: Broker, *, keeps: bool) -> None:
    """Say who we are, with a session that the broker keeps for ever or one that is new each time."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = cast(Any, Properties)(PacketTypes.CONNECT)
    properties.ReceiveMaximum = broker.receive_maximum
    if keeps:
        properties.SessionExpiryInterval = FOREVER
    client.connect(broker.host, broker.port, broker.keepalive, clean_start=not keeps, properties=properties)


def leave(client: Client, *, forget: bool) -> None:
    """Say goodbye; with `forget` the broker keeps nothing of the session."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    if not forget:
        client.disconnect()
        return
    properties = cast(Any, Properties)(PacketTypes.DISCONNECT)
    properties.SessionExpiryInterval = 0
    client.disconnect(properties=properties)


def subscribe(client: Client, topic: str, qos: int) -> int | None:
    """Ask for a subscription; the number of the request, None where there is no connection."""
    from paho.mqtt.subscribeoptions import SubscribeOptions

    # Retained messages once, when the subscription is new, not at every return.
    options = cast(Any, SubscribeOptions)(qos=qos, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    _, mid = client.subscribe(topic, options=options)
    return mid
