"""A broker as one URL says it: where, as whom, over what, and how much may be under way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from penstock.connectors.settings import Settings
from penstock.errors import ConfigError

if TYPE_CHECKING:
    import ssl

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_NUMBERS = {"receive_maximum": (1, 65535), "keepalive": (1, 65535)}


class Broker(msgspec.Struct, frozen=True):
    """One MQTT broker: `mqtts://user:secret@host:8883/?ssl_ca=/etc/ca.pem&receive_maximum=500`.

    - `name`: what `/readyz` calls it: `mqtt`, or `mqtt:eu` for the connection named `eu`.
    - `ssl_ca`: a file of certificates to trust instead of the system's.
    - `receive_maximum`: how many messages the broker may have sent and we not confirmed: the source's backpressure.
    - `keepalive`: after so many seconds of silence the connection counts as lost.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = None
    ssl_ca: str = ""
    receive_maximum: int = 1000
    keepalive: int = 20
    name: str = "mqtt"

    @property
    def variable(self) -> str:
        """The setting that names this broker."""
        return "PENSTOCK_MQTT" + self.name.removeprefix("mqtt").replace(":", "__").upper()

    def why(self, error: BaseException) -> str:
        """What went wrong with it, as one line."""
        return f"{self.host}:{self.port}: {str(error) or type(error).__name__}"

    def context(self) -> ssl.SSLContext | None:
        """What TLS needs, None without TLS. Raises `ConfigError` where a file cannot be used."""
        if not self.tls:
            return None
        import ssl

        try:
            return ssl.create_default_context(cafile=self.ssl_ca or None)
        except OSError as error:
            raise ConfigError(f"{self.variable}: ssl_ca={self.ssl_ca} cannot be used ({error})") from error


def broker(settings: Settings, on: str = "") -> Broker:
    """The broker that the settings name. Raises `ConfigError`.

    >>> broker(Settings({"PENSTOCK_MQTT": "mqtts://me:secret@broker.example"})).port
    8883
    >>> broker(Settings({"PENSTOCK_MQTT": "tcp://broker.example"}))
    Traceback (most recent call last):
    penstock.errors.ConfigError: PENSTOCK_MQTT: the URL starts with 'tcp', write mqtt://host:1883 or mqtts://host:8883
    """
    url = settings.mqtt(on).url
    name = f"mqtt:{on}" if on else "mqtt"
    variable = Broker("", 0, name=name).variable
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{variable} is not a URL: {error}") from None
    if parts.scheme not in _PORTS:
        said = f"starts with {parts.scheme!r}" if parts.scheme else "has no scheme"
        raise ConfigError(f"{variable}: the URL {said}, write mqtt://host:1883 or mqtts://host:8883")
    if not parts.hostname:
        raise ConfigError(f"{variable}: the URL names no host, write for example {parts.scheme}://localhost")
    numbers: dict[str, int] = {}
    ssl_ca = ""
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        if option == "ssl_ca":
            if not Path(value).is_file():
                raise ConfigError(f"{variable}: ssl_ca={value} is no file")
            ssl_ca = value
        elif option in _NUMBERS:
            low, high = _NUMBERS[option]
            if not value.isdigit() or not low <= int(value) <= high:
                raise ConfigError(f"{variable}: {option}={value}, a number from {low} to {high} is needed")
            numbers[option] = int(value)
        else:
            raise ConfigError(f"{variable}: unknown option {option!r}, known are ssl_ca, {', '.join(_NUMBERS)}")
    return Broker(
        parts.hostname,
        port or _PORTS[parts.scheme],
        parts.scheme == "mqtts",
        unquote(parts.username) if parts.username is not None else None,
        unquote(parts.password) if parts.password is not None else None,
        ssl_ca,
        name=name,
        **numbers,
    )
