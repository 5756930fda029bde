"""A pytest plugin: the fixture `penstock_harness`, for tests of pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from penstock.pipeline.testing.harness import Harness


@pytest.fixture
def penstock_harness() -> Callable[..., AbstractAsyncContextManager[Harness]]:
    """`harness`, without an import: `async with penstock_harness(pipeline, store=...) as h: ...`."""
    from penstock.pipeline.testing.harness import harness

    return harness
