"""What goes over the wire: MQTT packets and HTTP requests, whole or not."""

from __future__ import annotations

from tests.chaos.mutations import TOKENS, Mutations

TERMINALS = (*(b"T-1",) * 6, b"", "ü💶".encode())


def number(value: int) -> bytes:
    """A number as MQTT writes lengths."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def text(value: bytes) -> bytes:
    """Bytes behind their length."""
    return len(value[:60_000]).to_bytes(2, "big") + value[:60_000]


def publish(supply: Mutations, mid: int, base: bytes = b"terminals") -> tuple[int, bytes]:
    """A message of QoS 1 to `base/.../payments`: its packet's first byte, and what comes behind the length.

    Its properties are those that a message may have, in any order and with any text; now and then one is broken.
    """
    one, random = supply.record(""), supply.random
    properties = [b"&" + text(name.encode("utf-8", "replace")) + text(value or b"") for name, value in one.headers]
    if one.content_type:
        properties.append(b"\x03" + text(one.content_type.encode("utf-8", "surrogateescape")))
    some = (
        *(
            b"\x01\x00",
            b"\x01\x01",
            b"\x02\x00\x00\x0f\xff",
            b"\x08" + text(b"answers/here"),
            b"\x09" + text(b"\xff\x00"),
        ),
        *(
            b"&" + text(b"\xef\xbb\xbf") + text(supply.text().encode("utf-8", "surrogateescape")),
            b"&" + text(b"a" * 200) * 2,
        ),
    )
    properties += random.sample(some[1:], random.randrange(3)) if random.random() < 0.5 else []
    random.shuffle(properties)
    packed = b"".join(properties)
    if random.random() < 0.03:
        at = random.randrange(len(packed) + 1)
        packed = packed[:at] + random.choice((b"\x00", b"\xff", b"\x7e", b"\x26\xff\xff")) + packed[at + 1 :]
    topic = base + b"/" + random.choice(TERMINALS) + b"/payments"
    return 0x32, text(topic) + mid.to_bytes(2, "big") + number(len(packed)) + packed + (one.value or b"")


def request(supply: Mutations) -> bytes:
    """A request to `/payments/...`, a path that no other one has: whole, or with lines, body or length changed."""
    one, random = supply.record("ce-"), supply.random
    body, kind = one.value or b"", one.content_type
    if random.random() < 0.3:
        kind = random.choice(("application/x-ndjson", "application/cloudevents-batch+json"))
        many = [body, *(supply.record("ce-").value or b"" for _ in range(random.randrange(5)))]
        body = b"\n".join(many) if kind == "application/x-ndjson" else b"[" + b",".join(many) + b"]"
        if random.random() < 0.2:
            body = body.replace(b"\n", random.choice((b"\r\n", b"\n\n \n", b"\r", b"\n\xff\n")), 2)
    target = random.choice(
        (b"/payments/%d",) * 12 + (b"/payments/%d?a=%%ff", b"/p%%61yments/%d", b"//payments/%d", b"/%d")
    )
    method = random.choice((b"POST",) * 20 + (b"PUT", b"GET", b"post", b"PO ST", b"DELETE"))
    version = random.choice((b"HTTP/1.1",) * 20 + (b"HTTP/1.0", b"HTTP/9.9", b"HTTP", b""))
    lines = [b" ".join((method, target % supply.count, version)), b"Host: here"]
    lines += [b"Content-Type: " + kind.encode("utf-8", "surrogateescape")] if kind else []
    lines += [name.encode("utf-8", "replace") + b": " + (value or b"") for name, value in one.headers]
    odd = (
        b"Expect: 100-continue",
        b"Content-Encoding: gzip",
        b"Idempotency-Key: %d" % supply.count,
        b"Connection: close",
    )
    lines += (
        [random.choice((*odd, b"Cookie: a=b", b"no colon", b" : x", b"X: " + b"y" * 9000))]
        if random.random() < 0.15
        else []
    )
    if random.random() < 0.1:
        at = random.randrange(len(lines))
        cut = random.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:cut] + random.choice(TOKENS)[:3] + lines[at][cut + 1 :]
    framing, sent = _framed(supply, body)
    return b"\r\n".join([*lines, *framing]) + b"\r\n\r\n" + sent


def _framed(supply: Mutations, body: bytes) -> tuple[list[bytes], bytes]:
    """Lines that say how long the body is, and the body as it goes over the wire. One line in ten is wrong."""
    random, size = supply.random, len(body)
    if random.random() < 0.1:
        wrong = (b"-1", b"", b"abc", b"+1", b"0x10", b"1, 1", b"9" * 30, b"%d" % (size + 9), b"%d" % (size // 2))
        both = [b"Content-Length: 1", b"Transfer-Encoding: chunked"]
        return random.choice(([b"Content-Length: " + random.choice(wrong)], both, [])), body
    if random.random() < 0.7:
        return [b"Content-Length: %d" % size], body
    sent, at = b"", 0
    while at < size:
        part = body[at : at + random.choice((1, 7, 64, 5000))]
        sent += b"%x%b\r\n%b\r\n" % (len(part), random.choice((b"", b"", b";x=y")), part)
        at += len(part)
    end = random.choice((b"0\r\n\r\n",) * 8 + (b"0\r\nX-Trailer: 1\r\n\r\n", b"zz\r\n", b"-1\r\n\r\n", b""))
    return [b"Transfer-Encoding: " + random.choice((b"chunked",) * 9 + (b"Chunked",))], sent + end
