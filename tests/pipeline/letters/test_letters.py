"""What a letter says of the line that raised."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.connectors.duration import seconds
from penstock.connectors.store.command import pack
from penstock.pipeline.letters.letters import users_line


@pytest.mark.parametrize(
    ("own", "kind"), [(seconds, ValueError), (pack, TypeError)], ids=["of a package", "of a part of one"]
)
def test_the_users_line_is_none_of_ours(own: Any, kind: type[Exception]) -> None:
    def of_the_user() -> None:
        own(object())

    with pytest.raises(kind) as raised:
        of_the_user()
    assert users_line(raised.value) == f"{__file__}:{of_the_user.__code__.co_firstlineno + 1}"


def test_what_nobody_raised_has_no_line() -> None:
    assert users_line(ValueError()) == ""
