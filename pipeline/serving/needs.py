"""What a pipeline needs to run: addresses, clients, models; and what of it is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from penstock.connectors import Endpoint, Settings, Site
from penstock.connectors.store.command import pack
from penstock.errors import ConfigError, Unavailable
from penstock.pipeline.graph import Graph
from penstock.pipeline.letters.copies import places
from penstock.pipeline.place import place

log = logging.getLogger("penstock")

REPLY = "reply"


def endpoints(graph: Graph) -> tuple[list[Endpoint], list[Endpoint]]:
    """The endpoints that a graph reads from and acts to, each once."""
    sources = {place(one): one for node in graph.sources for one in node.endpoints}
    sinks = {place(one): one for act in graph.acts for one in act.to if one.address != REPLY}
    return list(sources.values()), list(sinks.values())


def missing(graph: Graph, settings: Settings) -> list[str]:
    """What keeps the graph from being run with these settings, one line each, every line once.

    Nothing is connected to: it says which settings are missing or wrong, not who answers.
    """
    site = Site(settings, pipeline=graph.name)
    sources, sinks = endpoints(graph)
    tries: list[Callable[[], object]] = [lambda: _store(settings)]
    tries += [lambda one=one: one.source(site) for one in sources]  # type: ignore[misc]
    tries += [lambda one=one: one.sink(site) for one in sinks]  # type: ignore[misc]
    tries.append(lambda: copied(settings, site))
    problems: dict[str, None] = {}
    for attempt in tries:
        try:
            attempt()
        except ConfigError as error:
            problems[str(error)] = None
    return list(problems)


def unknown(settings: Settings) -> list[str]:
    """Variables that nothing reads and that are nearly a setting, one line each."""
    return [f"{name} is no setting: did you mean {meant}?" for name, meant in settings.misspelt.items()]


def warn_of_unknown(settings: Settings) -> None:
    """Log those lines."""
    for line in unknown(settings):
        log.warning("%s", line)


def _store(settings: Settings) -> None:
    """The store's address is needed, and its client."""
    settings.store()
    pack("PING")


def copied(settings: Settings, site: Site) -> None:
    """Try where dead letters are to be sent, if they are. Raises `ConfigError`."""
    _, to = places(settings)
    if to is not None:
        to.sink(site)


def missing_models(graph: Graph, settings: Settings) -> list[str]:
    """What is wrong with the models a graph asks for, one line each. Reads the registry."""
    from penstock.models import open_registry

    problems = []
    for ref in graph.models:
        try:
            open_registry(settings.process.models).resolve(ref)
        except (ConfigError, Unavailable) as error:
            problems.append(str(error))
    return problems
