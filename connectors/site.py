"""What the connectors of one process have in common: names, settings, and clients that are opened once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from penstock.connectors.protocol import Store
    from penstock.connectors.settings import Settings

T = TypeVar("T")


class Site:
    """One process's place in the world.

    - `settings`: addresses and secrets, from the environment.
    - `pipeline`: the pipeline's name; consumer groups, client ids and keys are derived from it.
    - `worker`: this process's number among its siblings, from 0.
    - `process`: the site of what several pipelines of one process have in common, such as the port they listen on;
      itself where there is one pipeline.
    - `store`: the pipeline's store, None where it has none.

    >>> from penstock.connectors import Settings
    >>> site = Site(Settings({}), pipeline="demo")
    >>> site.share("answers", list) is site.share("answers", list)
    True
    """

    def __init__(
        self, settings: Settings, *, pipeline: str = "penstock", worker: int = 0, process: Site | None = None
    ) -> None:
        self.settings = settings
        self.pipeline = pipeline
        self.worker = worker
        self.process = process or self
        self.store: Store | None = None
        self._shared: dict[str, Any] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def group(self) -> str:
        """Name of the pipeline's consumer group everywhere, with the namespace in front where one is set."""
        namespace = self.settings.process.namespace
        return f"{namespace}.{self.pipeline}" if namespace else self.pipeline

    def share(self, name: str, make: Callable[[], T]) -> T:
        """The one object of this name in the process, made at the first call."""
        if name not in self._shared:
            self._shared[name] = make()
        return cast(T, self._shared[name])

    def on_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Have this awaited when the process leaves, in reverse order."""
        self._closers.append(closer)

    async def close(self) -> None:
        """Close what was shared. Safe to call twice."""
        while self._closers:
            await self._closers.pop()()
        self._shared.clear()
