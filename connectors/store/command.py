"""Commands in the wire format of Redis, packed ahead where they repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeAlias, cast

from penstock.errors import ConfigError

Argument: TypeAlias = str | bytes | int | float


@cache
def _packer() -> Callable[[tuple[Argument, ...]], bytes]:
    try:
        from hiredis import pack_command
    except ImportError as error:
        raise ConfigError("the store needs a client: pip install 'penstock[redis]'") from error

    # Its own annotation says a tuple of one.
    return cast("Callable[[tuple[Argument, ...]], bytes]", pack_command)


def pack(*arguments: Argument) -> bytes:
    r"""One command, ready for the wire.

    >>> pack("GET", "card:7")
    b'*2\r\n$3\r\nGET\r\n$6\r\ncard:7\r\n'
    """
    return _packer()(arguments)


class Prepared:
    r"""A command in which one argument changes: what stands before and after it is packed once.

    >>> Prepared(("HMGET",), ("mean", "limit")).pack("card:7")
    b'*4\r\n$5\r\nHMGET\r\n$6\r\ncard:7\r\n$4\r\nmean\r\n$5\r\nlimit\r\n'
    """

    __slots__ = ("_form",)

    def __init__(self, before: tuple[Argument, ...], after: tuple[Argument, ...] = ()) -> None:
        head = b"*%d\r\n" % (len(before) + 1 + len(after)) + _arguments(before)
        # A template of bytes formatting, in which a percent sign of the constants must stand for itself.
        self._form = head.replace(b"%", b"%%") + b"$%d\r\n%b\r\n" + _arguments(after).replace(b"%", b"%%")

    def pack(self, argument: str) -> bytes:
        """The command with this argument in its place."""
        value = argument.encode()
        return self._form % (len(value), value)

    def pack_many(self, arguments: Iterable[str]) -> bytes:
        """One command for each argument, in order."""
        form = self._form
        return b"".join([form % (len(value), value) for value in [argument.encode() for argument in arguments]])


def encoded(value: Argument) -> bytes:
    """A value as the store keeps it: text in UTF-8, numbers in decimal.

    >>> encoded(0.1), encoded("é")
    (b'0.1', b'\\xc3\\xa9')
    """
    return value if isinstance(value, bytes) else str(value).encode()


def _arguments(arguments: tuple[Argument, ...]) -> bytes:
    if not arguments:
        return b""
    packed = pack(*arguments)
    return packed[packed.index(b"\r\n") + 2 :]
