"""A declaration that must be refused, as a test: what `build()` says, whole, with the user's lines."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from penstock import DeclarationError, Pipeline

_MARK = re.compile(r"# <(\w*)>$")


def mistake(message: str) -> Callable[[Callable[[Any], object]], Callable[[], None]]:
    """Make a test of a function that declares something wrong in the pipeline it is given.

    The line that the message must begin with carries the comment `# <>`. Another line that the message tells of
    carries a word, `# <first>`, and the message has the word in the same brackets.
    """

    def test(declare: Callable[[Any], object]) -> Callable[[], None]:
        def declared() -> None:
            with pytest.raises(DeclarationError) as refused:
                _build(declare)
            expected = f"<>: {message}"
            for mark, place in _places(declare).items():
                expected = expected.replace(f"<{mark}>", place)
            assert str(refused.value) == expected

        declared.__name__, declared.__doc__ = declare.__name__, message
        return declared

    return test


def _build(declare: Callable[[Any], object]) -> None:
    pipeline = Pipeline("demo")
    declare(pipeline)
    pipeline.build()


def _places(declare: Callable[..., object]) -> dict[str, str]:
    lines, first = inspect.getsourcelines(declare)
    file = inspect.getsourcefile(declare)
    found = {}
    for number, line in enumerate(lines, first):
        if mark := _MARK.search(line.rstrip()):
            found[mark[1]] = f"{file}:{number}"
    return found
