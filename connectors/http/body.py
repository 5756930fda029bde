"""Bodies of requests: read whole, inflated, and never larger than is allowed."""

from __future__ import annotations

import zlib

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest, HTTPRequestEntityTooLarge, RequestPayloadError

from penstock.errors import BadEvent


async def body_of(request: BaseRequest, limit: int) -> bytes:
    """A request's body, of at most `limit` bytes when inflated. Raises `BadEvent`."""
    headers = request.headers
    if "Expect" in headers:
        if (request.content_length or 0) > limit:
            raise BadEvent(too_large(limit), status=413)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        body = await request.read()
    except HTTPRequestEntityTooLarge:
        raise BadEvent(too_large(limit), status=413) from None
    except (RequestPayloadError, HttpProcessingError) as error:
        raise BadEvent(f"the body cannot be read: {error}") from None
    encoding = headers.get("Content-Encoding")
    return body if not encoding or encoding == "identity" else inflated(body, encoding, limit)


def inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """A body without its content encoding. Raises `BadEvent` where it is cut short, or larger than `limit`.

    >>> inflated(b"cut", "gzip", 1000)
    Traceback (most recent call last):
    penstock.errors.BadEvent: the body is not valid gzip
    """
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        raise BadEvent(f"content encoding {encoding!r} is not understood: send gzip, deflate or none", status=415)
    # 32: either of the two formats, as the header of the data says.
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = inflater.decompress(body, limit + 1)
    except zlib.error:
        found = b""
    if len(found) > limit:
        raise BadEvent(too_large(limit), status=413)
    if not inflater.eof or inflater.unused_data:
        raise BadEvent(f"the body is not valid {encoding}")
    return found


def too_large(limit: int) -> str:
    """What a sender of more than `limit` bytes is told."""
    return f"the body is larger than {limit} bytes (PENSTOCK_HTTP_LIMIT)"
