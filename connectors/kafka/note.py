"""What is kept with a committed offset: which topic it is of, and what is finished above it.

One line of text, in the commit's metadata: `penstock/1 TOPIC RUNS CHECK;`. The runs are the lengths, in offsets, of
what is unfinished and what is finished by turns, from the committed offset on, each as digits of five bits with the
lowest first (as source maps write numbers). A text that is somebody else's, or damaged, or of another offset, is no
note. What follows the semicolon is none of it: confluent-kafka reads on beyond the end of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

FORM = "penstock/1"
END = ";"

LONGEST = 3000
"""Characters of a note. Brokers take 4,096 bytes unless told otherwise; what does not fit is done again."""

NOBODY = "-"
"""In place of the topic's identity, for brokers that know none."""

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}


class Span(NamedTuple):
    """Offsets from `start` up to, and without, `stop`."""

    start: int
    stop: int


class Note(NamedTuple):
    """The identity of the topic, empty where it is not known, and the spans that are finished."""

    topic: str
    finished: Sequence[Span]


def write(topic: str, offset: int, finished: Iterable[Span]) -> str:
    """The note for a commit of `offset`. As many of the spans, which rise and lie above it, as there is room for.

    >>> write("eu3", 7, [Span(8, 508)])
    'penstock/1 eu3 B0P 6b5c4004;'
    """
    room = LONGEST - len(f"{FORM} {topic or NOBODY}  01234567{END}")
    runs: list[str] = []
    at = offset
    for start, stop in finished:
        run = _number(start - at) + _number(stop - start)
        room -= len(run)
        if room < 0:
            break
        runs.append(run)
        at = stop
    body = f"{FORM} {topic or NOBODY} {''.join(runs)}"
    return f"{body} {_check(body, offset)}{END}"


def read(text: str | None, offset: int) -> Note | None:
    """The note in a commit of `offset`, None where the text is none.

    >>> read(write("eu3", 7, [Span(8, 508)]), 7)
    Note(topic='eu3', finished=[Span(start=8, stop=508)])
    >>> read("kept by another tool", 7)
    """
    form, _, rest = (text or "").partition(END)[0].partition(" ")
    body, _, check = rest.rpartition(" ")
    topic, _, runs = body.partition(" ")
    if form != FORM or check != _check(f"{form} {body}", offset):
        return None
    try:
        lengths = list(_numbers(runs))
    except KeyError:
        return None
    finished = []
    at = offset
    for unfinished, done in zip(lengths[::2], lengths[1::2], strict=False):
        finished.append(Span(at + unfinished, at + unfinished + done))
        at += unfinished + done
    return Note("" if topic == NOBODY else topic, finished)


def _check(body: str, offset: int) -> str:
    """Ties a note to its offset, so that one which a tool carried over to another offset is none."""
    return f"{crc32(f'{body} {offset}'.encode()):08x}"


def _number(value: int) -> str:
    digits = ""
    while value > 31:
        digits += _DIGITS[32 + value % 32]
        value //= 32
    return digits + _DIGITS[value]


def _numbers(text: str) -> Iterator[int]:
    value = shift = 0
    for digit in text:
        part = _VALUES[digit]
        value |= (part & 31) << shift
        if part < 32:
            yield value
            value = shift = 0
        else:
            shift += 5
