"""Addresses and secrets, from the environment or a `.env` file, never from the declaration.

A connection's address is one variable (`PENSTOCK_KAFKA`); what else belongs to it has that variable as prefix
(`PENSTOCK_KAFKA_SASL_USERNAME`). A second connection of the same technology carries its name after two
underscores (`PENSTOCK_KAFKA__EU`, `PENSTOCK_KAFKA__EU_SASL_USERNAME`). Any variable can be given as `..._FILE`, the
path of a file that holds the value, as container platforms mount secrets.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from penstock.connectors.duration import seconds
from penstock.errors import ConfigError

Length: TypeAlias = Annotated[float, BeforeValidator(lambda given: seconds(given) if isinstance(given, str) else given)]
"""A length of time in seconds, written as people do: `500ms`."""


def _size(given: Any) -> Any:
    found = _SIZE.fullmatch(given.strip().upper()) if isinstance(given, str) else None
    return int(found[1]) * _UNITS[found[2] or ""] if found else given


_SIZE = re.compile(r"(\d+) *(KB|MB|GB|)")
_UNITS = {"": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}

Size: TypeAlias = Annotated[int, BeforeValidator(_size)]
"""A number of bytes, written as people do: `512MB`."""


def _certificates(path: str) -> str:
    """The path of a file that can be trusted by: each client would say otherwise that it cannot, or only wait."""
    if path:
        import ssl

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError as error:
            begin = "each begins with -----BEGIN CERTIFICATE-----"
            raise ValueError(f"no PEM certificates are in this file ({error.reason or error}); {begin}") from None
        except OSError as error:
            raise ValueError(f"cannot read this file ({error.strerror})") from None
    return path


Certificates: TypeAlias = Annotated[str, AfterValidator(_certificates)]
"""The path of a file of PEM certificates, or nothing."""


def _servers(address: str) -> str:
    """Bootstrap servers as both clients read them: neither says of a wrong one what is wrong with it."""
    for server in address.split(","):
        host, colon, port = server.strip().rpartition(":")
        if "://" in server or (colon and not (host and port.isdigit() and 0 < int(port) < 65536)):
            raise ValueError(f"write host:port, several with commas, not {server.strip()!r}")
    return address


Servers: TypeAlias = Annotated[str, AfterValidator(_servers)]
"""Kafka's bootstrap servers: `host:port`, several with commas."""


class _Variables(PydanticBaseSettingsSource):
    """Reads `PREFIX` (field `address`) and `PREFIX_FIELD` from one mapping, following `..._FILE`."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str], prefix: str) -> None:
        super().__init__(settings_cls)
        self.variables = variables
        self.prefix = prefix

    def name(self, field_name: str) -> str:
        return self.prefix if field_name == "address" else f"{self.prefix}_{field_name.upper()}"

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = self.name(field_name)
        value = self.variables.get(name)
        path = self.variables.get(f"{name}_FILE")
        if value is None and path:
            try:
                value = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"{name}_FILE: cannot read {path} ({error.strerror})") from error
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value not in (None, "")}


class _Connection(BaseSettings):
    """Base of the settings of one connection."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What `Settings` found is all there is: it has followed files and names already."""
        return (init_settings,)


class KafkaSettings(_Connection):
    """`PENSTOCK_KAFKA`: bootstrap servers, comma-separated, and how to authenticate to them.

    - `ssl_ca`: a file of certificates to trust instead of the system's.
    - `client`: the library to use; empty for confluent-kafka where it is installed, else kafka-python.
    - `commit_interval`: how often what is finished is committed.
    - `drain_timeout`: how long partitions that leave wait for what runs; kept below `poll_interval`.
    - `poll_interval`, `session_timeout`: after how long the group takes a member for stuck, or dead.
    - `membership`: `static` gives a process that was killed its partitions back at once when it is started again, and
      lets nobody else have them before `session_timeout`; `dynamic` makes a started process wait that long as well.
    - `protocol`: `classic`, or `consumer` where brokers have it (Kafka 4) and the client is confluent-kafka; members
      are then always dynamic, and `session_timeout` is the brokers'.
    - `transaction_interval`: how often transactional sinks commit, and so how long their actions are withheld.
    - `transaction_timeout`: after how long brokers end a transaction whose process is silent. As long wait the readers
      of what it wrote to, and whoever has its partitions next, unless it is started again under its name.
    - `metadata_interval`: how often new partitions are looked for.
    - `linger`: how long a message waits, at most, for more to send along. `compression`: of what is sent; all but
      `gzip` need their own package with kafka-python.
    """

    address: Servers
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    ssl_ca: Certificates = ""
    client: Literal["", "kafka-python", "confluent"] = ""
    commit_interval: Length = 1.0
    drain_timeout: Length = 30.0
    poll_interval: Length = 300.0
    session_timeout: Length = 45.0
    membership: Literal["static", "dynamic"] = "static"
    protocol: Literal["classic", "consumer"] = "classic"
    transaction_interval: Length = 0.5
    transaction_timeout: Length = 60.0
    metadata_interval: Length = 30.0
    linger: Length = 0.005
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = "none"


class UrlSettings(_Connection):
    """A connection that one URL describes whole: `mqtt://user:secret@host:1883`, `redis://host:6379/0`."""

    address: SecretStr

    @property
    def url(self) -> str:
        return self.address.get_secret_value()


class ProcessSettings(_Connection):
    """Settings of the process itself, under the prefix `PENSTOCK`.

    - `host`: this machine's lasting name, where several run one pipeline and read MQTT.
    - `durability`: what the store does with what it has answered: `disk`, `second` (once a second), `memory`. A store
      that does less is refused; one that does not tell is believed to do what is said here.
    - `dead`: where dead letters are kept: `store`, an address such as `kafka:dead`, or both, with a comma.
    - `dead_limit`, `dead_bytes`: how many dead letters the store takes, and about how many bytes of them; 0 for no
      limit. At a limit nothing new is read, or, with a `dead_folder`, the oldest are moved to files there.
    - `stream_full`: entries in one partition of a Redis stream at which its producers wait for the slowest group.
    """

    http_listen: str = "127.0.0.1:8080"
    http_limit: int = 1_048_576
    admin_listen: str = "127.0.0.1:9090"
    models: str = ".penstock/models"
    workers: int = 1
    namespace: str = ""
    host: str = ""
    dead: str = "store"
    dead_limit: int = 100_000
    dead_bytes: Size = 1_000_000_000
    dead_folder: str = ""
    stream_full: int = Field(default=100_000, ge=1)
    durability: Literal["", "disk", "second", "memory"] = ""


S = TypeVar("S", bound=_Connection)

PREFIX = "PENSTOCK_"

ALIKE = 0.78
"""How much of its letters a name must share with a setting, to be told of: other programs name variables as well."""


class Settings:
    """Every setting penstock reads, from one mapping of variables.

    Given no mapping, the environment over a `.env` file in the working folder. A missing address is a `ConfigError`
    that names the variable.

    >>> Settings({"PENSTOCK_KAFKA": "localhost:9092"}).kafka().address
    'localhost:9092'
    >>> Settings({}).kafka()
    Traceback (most recent call last):
    penstock.errors.ConfigError: PENSTOCK_KAFKA is not set: the Kafka bootstrap servers, for example localhost:9092
    """

    def __init__(self, variables: Mapping[str, str] | None = None, *, otherwise: str = "") -> None:
        """`otherwise` is what else can be done where an address is missing; it ends the message."""
        if variables is None:
            variables = {**_dotenv(Path(".env")), **os.environ}
        self.variables = variables
        self.otherwise = otherwise
        self.process = self._read(ProcessSettings, "PENSTOCK", "")

    def kafka(self, on: str = "") -> KafkaSettings:
        what = "the Kafka bootstrap servers, for example localhost:9092"
        return self._read(KafkaSettings, _variable("KAFKA", on), what)

    def mqtt(self, on: str = "") -> UrlSettings:
        return self._read(UrlSettings, _variable("MQTT", on), "the MQTT broker, for example mqtt://localhost:1883")

    def store(self) -> UrlSettings:
        return self._read(UrlSettings, "PENSTOCK_STORE", "the state store, for example redis://localhost:6379/0")

    def redis(self, on: str = "") -> UrlSettings:
        """Where streams live: `PENSTOCK_REDIS`, or the store's address."""
        name = _variable("REDIS", on)
        if not on and not self.has(name):
            name = "PENSTOCK_STORE"
        return self._read(UrlSettings, name, "the Redis server of the streams, for example redis://localhost:6379/0")

    def has(self, name: str) -> bool:
        """Whether a variable is set, directly or as a file."""
        return bool(self.variables.get(name) or self.variables.get(f"{name}_FILE"))

    @property
    def misspelt(self) -> dict[str, str]:
        """Variables that nothing reads, each with the setting that it nearly is.

        >>> Settings({"PENSTOCK_KAFAK": "localhost:9092", "PENSTOCK_VERSION": "7"}).misspelt
        {'PENSTOCK_KAFAK': 'PENSTOCK_KAFKA'}
        """
        known = {name.upper() for name in ProcessSettings.model_fields} | {"KAFKA", "MQTT", "REDIS", "STORE"}
        known |= {f"KAFKA_{name.upper()}" for name in KafkaSettings.model_fields}
        found = {}
        for variable in self.variables:
            # What follows two underscores is the name of a connection, which is anybody's own.
            name, *rest = variable.removeprefix(PREFIX).removesuffix("_FILE").partition("__")
            if variable.startswith(PREFIX) and name not in known:
                for near in difflib.get_close_matches(name, known, n=1, cutoff=ALIKE):
                    found[variable] = PREFIX + near + "".join(rest)
        return found

    def _read(self, kind: type[S], prefix: str, what: str) -> S:
        source = _Variables(kind, self.variables, prefix)
        values = source()
        if "address" in kind.model_fields and "address" not in values:
            near = next((f"; is {name} meant to be it?" for name, one in self.misspelt.items() if one == prefix), "")
            raise ConfigError(f"{prefix} is not set: {what}{near or self.otherwise}")
        try:
            return kind(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = source.name(str(first["loc"][0]))
            raise ConfigError(f"{name} is {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from None


def _variable(technology: str, on: str) -> str:
    return f"PENSTOCK_{technology}__{on.upper()}" if on else f"PENSTOCK_{technology}"


def _dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value is not None}
