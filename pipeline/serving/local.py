"""Where the commands of one folder find their servers: the environment, `.env`, or what `penstock dev` left there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from penstock.connectors import Endpoint, Kafka, Mqtt, Settings, Site
from penstock.connectors.store.embedded import Embedded
from penstock.errors import ConfigError
from penstock.pipeline.address import endpoint
from penstock.pipeline.serving.stand_in import ON, stand_in, variable

FOLDER = Path(".penstock")
ENVIRONMENT = FOLDER / "dev.env"
DATA = FOLDER / "valkey"

EMBEDDED = f"PENSTOCK_REDIS__{ON.upper()}"
"""In `dev.env`: the embedded server's address, where anything is embedded."""


def settings() -> Settings:
    """The environment, over `.env`, over what a `penstock dev` of this folder left."""
    otherwise = "" if ENVIRONMENT.is_file() else "; or change to the folder where `penstock dev` runs"
    return Settings({**read(ENVIRONMENT), **read(Path(".env")), **os.environ}, otherwise=otherwise)


def read(path: Path) -> dict[str, str]:
    """The variables of a file like `.env`; none where there is no such file."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def write(variables: Mapping[str, str]) -> None:
    """Leave these variables for the other commands of this folder."""
    FOLDER.mkdir(exist_ok=True)
    text = "".join(f"{name}={value}\n" for name, value in variables.items())
    draft = ENVIRONMENT.with_suffix(".new")
    draft.write_text(f"# Written by `penstock dev`, for `penstock send`, `tail` and `dead` in this folder.\n{text}")
    draft.replace(ENVIRONMENT)


class Local:
    """The servers of this folder, for one command; `wanted` is the address that it is about, where it is about one.

    An embedded server that does not run is started for as long as the command takes, so that its data can be looked
    at. `starting=False` refuses instead.
    """

    def __init__(self, wanted: str = "", *, starting: bool = True) -> None:
        self.settings = settings()
        self.site = Site(self.settings, pipeline="penstock-command")
        declared = endpoint(wanted, self.settings) if wanted else None
        # What has an address of its own is reached there, whatever `penstock dev` left in this folder.
        own = isinstance(declared, Kafka | Mqtt) and self.settings.has(variable(declared))
        embedded = self.settings.has(EMBEDDED) and not own
        self.stand_in: Callable[[Endpoint], Endpoint] = stand_in(self.settings) if embedded else _declared
        self._server = Embedded(DATA).start() if embedded else None
        if self._server is not None and self._server.owned and not starting:
            self._server.stop()
            raise ConfigError("`penstock dev` does not run in this folder, and no address is set")

    def endpoint(self, address: str) -> Endpoint:
        """The endpoint of an address, or the stream that stands in for it."""
        return self.stand_in(endpoint(address, self.settings))

    async def close(self) -> None:
        """Leave. Safe to call twice."""
        await self.site.close()
        if self._server is not None and self._server.owned:
            self._server.stop()


def _declared(endpoint: Endpoint) -> Endpoint:
    return endpoint
