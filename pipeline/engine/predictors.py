"""Models for the engine: loaded from the registry in a thread, shared by the pipelines of a process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from penstock.connectors import Settings
from penstock.pipeline.engine.engine import Model
from penstock.stages.inference import Predictor

log = logging.getLogger("penstock")


class Predictors:
    """Loads each model once, however many stages and pipelines ask for it.

    The registry is the folder or URL that `PENSTOCK_MODELS` names.
    """

    def __init__(self, settings: Settings) -> None:
        self.registry = settings.process.models
        self._loading: dict[str, asyncio.Task[Model]] = {}

    async def load(self, ref: str) -> Model:
        """The predictor of `name@alias`, warm, and what makes its rows. Raises `ConfigError` or `Unavailable`."""
        task = self._loading.get(ref)
        if task is None:
            task = self._loading[ref] = asyncio.ensure_future(self._load(ref))
        try:
            return await asyncio.shield(task)
        except Exception:
            self._loading.pop(ref, None)
            raise

    async def _load(self, ref: str) -> Model:
        from penstock.models import Batcher
        from penstock.models import Model as Loaded

        began = time.perf_counter()
        model = await asyncio.to_thread(lambda: Loaded.load(self._opened(), ref))
        took = time.perf_counter() - began
        log.info("model %s is %s@%s, loaded and warm in %.2f s", ref, model.name, model.version, took)
        batcher: Predictor = Batcher(model, max_batch=model.max_batch)
        rows_for: Callable[[Any], Callable[[Any], Any]] = model.row_for
        return batcher, rows_for

    def _opened(self) -> Any:
        from penstock.models import open_registry

        return open_registry(self.registry)
