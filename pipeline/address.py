"""Addresses as people write them on the command line: `kafka:payments`, `mqtt:a/b`, `http:/payments`."""

from __future__ import annotations

from penstock.connectors import Endpoint, Settings
from penstock.errors import ConfigError

FORMS = "kafka:TOPIC, mqtt:TOPIC, redis:STREAM, http:/PATH or an http:// URL"


def endpoint(address: str, settings: Settings) -> Endpoint:
    """The endpoint of an address. A path alone is at this machine's own gateway, `PENSTOCK_HTTP_LISTEN`.

    A second connection is named before the colon: `kafka@eu:payments` is `Kafka("payments", on="eu")`.
    Raises `ConfigError` where there is no such form.

    >>> endpoint("kafka@eu:payments", Settings({}))
    Kafka(topic='payments', on='eu', group=None, start='latest', transactional=False, dedupe=None)
    >>> endpoint("payments", Settings({}))
    Traceback (most recent call last):
    penstock.errors.ConfigError: 'payments' is no address: write kafka:TOPIC, mqtt:TOPIC, redis:STREAM, http:/PATH ...
    """
    from penstock.connectors import Http, Kafka, Mqtt
    from penstock.connectors.redis.endpoint import Redis

    technology, colon, rest = address.partition(":")
    technology, _, on = technology.partition("@")
    if colon and rest:
        match technology:
            case "kafka":
                return Kafka(rest, on=on)
            case "mqtt":
                return Mqtt(rest, on=on)
            case "redis":
                return Redis(rest, on=on)
            case "http" | "https":
                return Http(_url(technology, rest, settings))
    raise ConfigError(f"{address!r} is no address: write {FORMS}")


def _url(scheme: str, rest: str, settings: Settings) -> str:
    if rest.startswith("//"):
        return f"{scheme}:{rest}"
    listen = settings.process.http_listen
    if listen.startswith("0.0.0.0:"):
        listen = listen.replace("0.0.0.0", "127.0.0.1", 1)
    return f"http://{listen}/{rest.lstrip('/')}"
