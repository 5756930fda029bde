"""Packed commands are what redis-py would have sent."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from redis.connection import Connection

from penstock.connectors.store.command import Argument, Prepared, encoded, pack

values = st.text() | st.binary() | st.integers() | st.floats(allow_nan=False)


def reference(*arguments: Argument) -> bytes:
    client: Any = Connection
    return b"".join(client().pack_command("CMD", *arguments))


@given(st.lists(values, max_size=6))
def test_a_command_is_packed_as_redis_py_packs_it(arguments: list[Argument]) -> None:
    assert pack("CMD", *arguments) == reference(*arguments)
    assert reference(*[encoded(argument) for argument in arguments]) == reference(*arguments)


@given(st.lists(values, max_size=3), st.lists(st.text(), max_size=4), st.lists(values, max_size=3))
def test_a_prepared_command_is_the_command(before: list[Argument], keys: list[str], after: list[Argument]) -> None:
    prepared = Prepared(("CMD", *before), tuple(after))
    expected = [reference(*before, key, *after) for key in keys]
    assert [prepared.pack(key) for key in keys] == expected
    assert prepared.pack_many(keys) == b"".join(expected)
