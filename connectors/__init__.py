"""What touches the outside: events, the Source, Sink and Store protocols, and one file per technology."""

if __name__ != "penstock.connectors":
    raise ImportError("import this package as `penstock.connectors`; its bare name would make a second copy of every class")

from penstock.connectors.batch import Batch, Partition, Refusal
from penstock.connectors.event import Action, Event, Message
from penstock.connectors.protocol import Endpoint, Settled, Sink, Source, Store
from penstock.connectors.settings import Settings
from penstock.connectors.site import Site

__all__ = [
    "Action",
    "Batch",
    "Endpoint",
    "Event",
    "Message",
    "Partition",
    "Refusal",
    "Settings",
    "Settled",
    "Sink",
    "Site",
    "Source",
    "Store",
]
