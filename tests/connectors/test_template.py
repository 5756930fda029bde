"""Braces that capture on the way in and are filled on the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.connectors.template import check, filler, matcher, names

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
LITERALS = st.text(st.characters(codec="utf-8", exclude_characters="{}/+#\0\n"), min_size=1, max_size=6)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="/\n"), min_size=1, max_size=6)


@st.composite
def filled(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A template of whole levels, and a value for each of its braces."""
    fields = draw(st.lists(NAMES, unique=True, max_size=4))
    levels = [f"{{{name}}}" for name in fields] + draw(st.lists(LITERALS, min_size=1, max_size=4))
    values = {name: draw(VALUES) for name in fields}
    return "/".join(draw(st.permutations(levels))), values


@given(filled())
def test_what_is_filled_in_is_captured_again(case: tuple[str, dict[str, str]]) -> None:
    template, values = case
    text = filler(template)(values)
    match = matcher(template).fullmatch(text)
    assert match is not None
    assert match.groupdict() == values
    assert sorted(names(template)) == sorted(values)


@given(filled(), VALUES)
def test_a_level_more_is_another_topic(case: tuple[str, dict[str, str]], more: str) -> None:
    template, values = case
    assert matcher(template).fullmatch(filler(template)(values) + "/" + more) is None


@dataclass
class Decision:
    region: str | None
    owner: Any = None


def test_the_first_that_has_a_field_fills_it() -> None:
    fill = filler("{region}/{card}/{owner.id}")
    payment = {"card": "c", "region": "us", "owner": {"id": 7}}
    assert fill(Decision("eu"), payment) == "eu/c/7"
    assert fill(Decision(None), payment) == "us/c/7"
    assert fill(Decision("eu", owner=Decision("x")), payment) == "eu/c/7"


def test_a_field_that_is_nowhere_is_named() -> None:
    with pytest.raises(KeyError, match=r"owner\.id"):
        filler("{owner.id}")({"card": "c"}, None)


def test_without_braces_nothing_is_looked_at() -> None:
    assert filler("plain")() == "plain"
    assert names("plain") == ()


@pytest.mark.parametrize("template", ["{card", "card}", "{}", "{a b}", "{{card}}", "{1}"])
def test_braces_that_hold_no_name(template: str) -> None:
    with pytest.raises(ValueError, match=r"braces hold one field name each, like \{card\}$"):
        check(template)
    with pytest.raises(ValueError, match="braces hold"):
        filler(template)


@pytest.mark.parametrize(
    ("template", "text", "captures"),
    [
        ("a/+/c", "a/b/c", {}),
        ("a/+", "a/", {}),
        ("a/#", "a", {}),
        ("a/#", "a/b/c", {}),
        ("#", "a/b", {}),
        ("{x}/#", "a/b/c", {"x": "a"}),
        ("+/{x}", "a/b", {"x": "b"}),
        ("a.b/{x}", "a.b/c", {"x": "c"}),
        ("v{x}-{y}", "v1-2", {"x": "1", "y": "2"}),
    ],
)
def test_wildcards_match_as_mqtt_does(template: str, text: str, captures: dict[str, str]) -> None:
    match = matcher(template).fullmatch(text)
    assert match is not None
    assert match.groupdict() == captures


@pytest.mark.parametrize(
    ("template", "text"), [("a/+", "a"), ("a/+", "a/b/c"), ("a.b", "axb"), ("{x}", ""), ("a/#", "ab")]
)
def test_what_does_not_match(template: str, text: str) -> None:
    assert matcher(template).fullmatch(text) is None
