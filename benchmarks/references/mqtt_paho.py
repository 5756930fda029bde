"""The four stages in a paho handler by hand: MQTT 5, QoS 1, acknowledged once the payment is processed.

With `BENCH_EVENTS` it ends itself after as many. Without, it subscribes in its lasting session, says `ready` and waits
for a signal, so that the broker keeps for it what comes meanwhile.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks import stages
from benchmarks.stages import classify, in_euros, score


def main() -> None:
    """Run until the turn is over, or a signal comes."""
    decode = msgspec.json.Decoder(dict).decode
    decide = stages.finish() if "BENCH_EVENTS" in os.environ else stages.decide
    client = Client(
        CallbackAPIVersion.VERSION2, os.environ["BENCH_GROUP"], protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
    )
    ack = client.ack

    def on_message(_: Client, __: Any, message: MQTTMessage) -> None:
        decide(score(classify(in_euros(decode(message.payload)))))
        ack(message.mid, message.qos)

    def on_connect(client: Client, *_: Any) -> None:
        client.subscribe(os.environ["BENCH_TOPIC"], qos=1)

    def on_subscribe(*_: Any) -> None:
        print("ready", flush=True)

    client.on_message, client.on_connect, client.on_subscribe = on_message, on_connect, on_subscribe
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0xFFFFFFFF
    properties.ReceiveMaximum = int(os.environ.get("BENCH_RECEIVE_MAXIMUM", "1000"))
    parts = urlsplit(os.environ["PENSTOCK_MQTT"])
    client.connect(parts.hostname or "", parts.port or 1883, clean_start=False, properties=properties)
    client.loop_forever()


if __name__ == "__main__":
    main()
