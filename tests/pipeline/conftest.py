"""What all tests of pipelines are given."""

from __future__ import annotations

import pytest

from tests.pipeline.steps import FORMS


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """Each form in which a pipeline may run."""
    return str(request.param)
