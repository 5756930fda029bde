"""Templates with braces: they capture from a topic or path on the way in, and are filled on the way out.

`terminals/{terminal}/payments` captures `terminal`; a dot reaches inside, `{owner.id}`, when filling. Captures never
span a `/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from penstock.errors import Undeliverable

_BRACES = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}")


def names(template: str) -> tuple[str, ...]:
    """The names between braces, in order.

    >>> names("plants/{plant}/machines/{machine}")
    ('plant', 'machine')
    """
    return tuple(_BRACES.findall(template))


def check(template: str) -> None:
    """Raise ValueError where a brace is not closed, or holds something that is not a name."""
    if re.search(r"[{}]", _BRACES.sub("", template)):
        raise ValueError(f"{template!r}: braces hold one field name each, like {{card}}")


@lru_cache(maxsize=256)
def matcher(template: str) -> re.Pattern[str]:
    """A pattern that matches filled-in templates whole. MQTT's `+` and trailing `#` match as MQTT does.

    >>> matcher("terminals/{terminal}/payments").fullmatch("terminals/t7/payments").groupdict()
    {'terminal': 't7'}
    """
    parts = []
    for level in template.split("/"):
        if level == "+":
            parts.append("/[^/]*")
        elif level == "#":
            parts.append("(?:/.*)?")
        else:
            pieces = _BRACES.split(level)
            literal = [re.escape(piece) if at % 2 == 0 else f"(?P<{piece}>[^/]+)" for at, piece in enumerate(pieces)]
            parts.append("/" + "".join(literal))
    return re.compile("".join(parts)[1:] if not parts[0].startswith("(?:") else ".*")


def part(value: Any) -> str:
    """A value as one part of a URL, percent-encoded. Raises `Undeliverable` for what would change the path itself.

    >>> part("a/b?ä")
    'a%2Fb%3F%C3%A4'
    """
    text = str(value)
    if text in ("", ".", ".."):
        raise Undeliverable(f"{text!r} cannot stand in a URL: it would lead elsewhere")
    return quote(text, safe="", errors="replace")


def filler(template: str, encode: Callable[[Any], str] = str) -> Callable[..., str]:
    """A function that fills the template from the first of its arguments that has each field.

    Fields are read from mappings by key and from everything else by attribute; each value passes through `encode`.
    Raises KeyError naming a field that is nowhere.

    >>> filler("card:{card}")({"card": "c1"})
    'card:c1'
    """
    check(template)
    fields = names(template)
    if not fields:
        return lambda *objects: template
    form = _BRACES.sub("{}", template)
    paths = [field.split(".") for field in fields]

    def fill(*objects: Any) -> str:
        return form.format(*[encode(_find(path, objects)) for path in paths])

    return fill


def _find(path: list[str], objects: tuple[Any, ...]) -> Any:
    for found in objects:
        for name in path:
            found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
            if found is None:
                break
        else:
            return found
    raise KeyError(".".join(path))
