"""What an MQTT client reads and writes through: buffers in front of a socket, and packed properties."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress

CHUNK = 8192  # bytes read at once: about two milliseconds of small messages, then the loop runs others


# Control characters, and what Unicode will never give a meaning. MQTT 5 lets a broker end the connection over one, and
# Mosquitto does: sent again and again, it would keep everything behind it from ever getting through.
_NONCHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_UNFIT = re.compile(f"[\0-\x1f\x7f-\x9f\ufdd0-\ufdef{_NONCHARACTERS}]")


class Buffered:
    """A non-blocking socket that is read and written once per tick; what paho reads and writes is the buffer."""

    def __init__(
        self,
        raw: socket.socket,
        loop: asyncio.AbstractEventLoop,
        readable: Callable[[], None],
        lost: Callable[[BaseException], None],
    ) -> None:
        self.out = bytearray()
        self._raw = raw
        self._loop = loop
        self._readable = readable
        self._lost = lost
        self._in = b""
        self._at = 0
        self._end: OSError | None = None
        self._registered = False
        loop.add_reader(raw.fileno(), readable)

    @property
    def cut(self) -> bool:
        """Whether the other side has ended the connection."""
        return isinstance(self._end, (ConnectionError, ssl.SSLEOFError))

    @property
    def waiting(self) -> bool:
        """Whether `recv` has something to say: bytes, or that there will be no more."""
        return self._at < len(self._in) or self._end is not None

    def fill(self) -> None:
        """Read what the operating system has, up to one chunk."""
        try:
            found = self._raw.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._end = error
            return
        if not found:
            self._end = ConnectionResetError("the broker closed the connection")
        self._in = self._in[self._at :] + found
        self._at = 0

    def pause(self) -> None:
        """Leave what arrives to the operating system, and so to the broker."""
        self._loop.remove_reader(self._raw.fileno())

    def resume(self) -> None:
        """Read again."""
        self._loop.add_reader(self._raw.fileno(), self._readable)
        self._loop.call_soon(self._readable)  # TLS may hold something already

    def hidden(self) -> bool:
        """Whether TLS holds bytes that the operating system does not know of."""
        return isinstance(self._raw, ssl.SSLSocket) and self._raw.pending() > 0

    def recv(self, buffer_size: int) -> bytes:
        at = self._at
        found = self._in[at : at + buffer_size]
        if found:
            self._at = at + len(found)
            return found
        if self._end is not None:
            raise self._end
        raise BlockingIOError

    def send(self, buffer: bytes | bytearray) -> int:
        self.out += buffer
        return len(buffer)

    def flush(self) -> None:
        """Give the operating system what it takes; the rest follows when it takes more."""
        try:
            if self.out:
                del self.out[: self._raw.send(self.out)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._end = self._end or error
            self._lost(error)
            return
        if bool(self.out) != self._registered:
            self._registered = bool(self.out)
            if self.out:
                self._loop.add_writer(self._raw.fileno(), self.flush)
            else:
                self._loop.remove_writer(self._raw.fileno())

    def fileno(self) -> int:
        return self._raw.fileno()

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def close(self) -> None:
        if self._raw.fileno() < 0:
            return
        self._loop.remove_reader(self._raw.fileno())
        self._loop.remove_writer(self._raw.fileno())
        if self.out:
            with suppress(OSError):
                self._raw.send(self.out)  # the goodbye, queued a moment ago
        self._raw.close()


class Packed:
    """Properties of a message that are packed already; paho asks nothing else of them."""

    __slots__ = ("_bytes",)

    def __init__(self, packed: bytes) -> None:
        self._bytes = packed

    def pack(self) -> bytes:
        return self._bytes


def packed(content_type: str, properties: Mapping[str, str]) -> bytes:
    """A message's content type and user properties as they go on the wire. Raises ValueError for what they cannot be.

    >>> packed("", {"a": "b"})
    b'\\x07&\\x00\\x01a\\x00\\x01b'
    """
    body = b"".join([b"&" + _text(name) + _text(value) for name, value in properties.items()])
    if content_type:
        body = b"\x03" + _text(content_type) + body
    size, length = len(body), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes(length) + body


def fit(text: str) -> str:
    """The text, which brokers take. Raises ValueError.

    >>> fit("a line\\n")
    Traceback (most recent call last):
    ValueError: 'a line\\n' holds '\\n', over which MQTT brokers end the connection
    """
    if not text.isprintable():
        found = _UNFIT.search(text)
        if found is not None:
            raise ValueError(f"{text[:40]!r} holds {found[0]!r}, over which MQTT brokers end the connection")
    return text


def _text(text: str) -> bytes:
    encoded = fit(text).encode()
    if len(encoded) > 65535:
        raise ValueError(f"{text[:40]!r} is {len(encoded)} bytes long; MQTT texts have at most 65535")
    return len(encoded).to_bytes(2, "big") + encoded
