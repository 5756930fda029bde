"""What touches the outside: events, the Source, Sink and Store protocols, and one package per technology."""

if __name__ != "penstock.connectors":
    raise ImportError(
        "import this package as `penstock.connectors`; its bare name would make a second copy of every class"
    )

from typing import TYPE_CHECKING, Any

from penstock.connectors.batch import Batch, Partition, Refusal
from penstock.connectors.event import Action, Event, Message
from penstock.connectors.http.endpoint import Http, Reply
from penstock.connectors.kafka.endpoint import Kafka
from penstock.connectors.memory import Memory
from penstock.connectors.mqtt.endpoint import Mqtt
from penstock.connectors.protocol import Endpoint, Settled, Sink, Source, Store
from penstock.connectors.redis.endpoint import Redis
from penstock.connectors.site import Site

if TYPE_CHECKING:
    from penstock.connectors.settings import Settings

__all__ = [
    "Action",
    "Batch",
    "Endpoint",
    "Event",
    "Http",
    "Kafka",
    "Memory",
    "Message",
    "Mqtt",
    "Partition",
    "Redis",
    "Refusal",
    "Reply",
    "Settings",
    "Settled",
    "Sink",
    "Site",
    "Source",
    "Store",
]


def __getattr__(name: str) -> Any:
    """`Settings` brings pydantic with it, which a declaration has no use for, so it is imported when asked for."""
    if name == "Settings":
        from penstock.connectors.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
