"""JSON from outside becomes a dataclass or an error that names the field: what every check accepts and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from runtime.fields import (
    Check,
    SpecError,
    checked,
    flag,
    number,
    optional,
    parse,
    path,
    sequence,
    text,
)


@dataclass(frozen=True)
class Thing:
    name: str = checked(text("[a-z]+"))
    count: int = checked(number(1, 9), default=3)
    tags: dict[str, str] = checked(lambda name, value: value, default_factory=dict)


def test_defaults_stand_for_the_keys_that_are_absent() -> None:
    assert parse(Thing, {"name": "a"}, "thing") == Thing("a", 3, {})
    assert parse(Thing, {"name": "a", "count": 9, "tags": {"x": "y"}}, "thing") == Thing("a", 9, {"x": "y"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "thing: None is not an object"),
        ([("name", "a")], "thing: [('name', 'a')] is not an object"),
        ({}, "thing: 'name' is missing"),
        ({"count": 1}, "thing: 'name' is missing"),
        ({"name": "a", "z": 1, "y": 2}, "thing: 'y' is not a known key"),
        ({"z": 1}, "thing: 'z' is not a known key"),
        ({"name": "A"}, "part.name: 'A' does not match [a-z]+"),
        ({"name": "a", "count": 10}, "part.count: 10 is not an integer from 1 to 9"),
    ],
)
def test_an_object_that_breaks_a_rule_is_refused_by_key(value: object, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(Thing, value, "thing", "part.")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (text(), ""),
        (text(), "ä\n🎉"),
        (text(), "\udcff"),  # a byte that is no UTF-8, as the system's names have them
        (number(-1, 1), -1),
        (number(-1, 1), 1),
        (path, "/"),
        (path, "/a b/.c/..d"),
        (path, "/process"),
        (path, "/a/proc"),
        (flag, False),
        (optional(flag), None),
        (optional(flag), True),
    ],
)
def test_a_value_that_keeps_the_rule_stays_as_it_is(check: Check, value: Any) -> None:
    found = check("x", value)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("check", "value", "rule"),
    [
        (text(), b"a", "is not text"),
        (text(), 1, "is not text"),
        (text(), "a\0b", "is not text"),
        (text(), "\ud800", "is not text"),
        (text("a"), "aa", "does not match a"),
        (text("a"), "a\n", "does not match a"),
        (number(0, 9), True, "is not an integer from 0 to 9"),
        (number(0, 9), 1.0, "is not an integer from 0 to 9"),
        (number(0, 9), "1", "is not an integer from 0 to 9"),
        (number(0, 9), -1, "is not an integer from 0 to 9"),
        (number(0, 9), 10, "is not an integer from 0 to 9"),
        (path, "", "is not an absolute, normal path"),
        (path, "a", "is not an absolute, normal path"),
        (path, "//a", "is not an absolute, normal path"),
        (path, "/a/", "is not an absolute, normal path"),
        (path, "/a/./b", "is not an absolute, normal path"),
        (path, "/..", "is not an absolute, normal path"),
        (path, "/proc", "lies in /proc or /sys"),
        (path, "/sys/fs/cgroup", "lies in /proc or /sys"),
        (path, "/a\0", "is not text"),
        (flag, 1, "is not true or false"),
        (flag, "true", "is not true or false"),
        (optional(flag), 0, "is not true or false"),
    ],
)
def test_a_value_that_breaks_the_rule_is_refused_with_it(check: Check, value: object, rule: str) -> None:
    with pytest.raises(SpecError) as refused:
        check("x", value)
    assert str(refused.value) == f"x: {value!r} {rule}"


def test_a_list_becomes_a_tuple_of_checked_items() -> None:
    assert sequence("xs", [1, 2], number(0, 9), 2, item="x") == (1, 2)
    assert sequence("xs", (), number(0, 9), 2, item="x") == ()
    for value, message in (
        ([1, 2, 3], "xs: [1, 2, 3] is not a list of at most 2"),
        ("12", "xs: '12' is not a list of at most 2"),
        ([1, 10], "x: 10 is not an integer from 0 to 9"),
    ):
        with pytest.raises(SpecError) as refused:
            sequence("xs", value, number(0, 9), 2, item="x")
        assert str(refused.value) == message


def test_a_long_value_does_not_fill_the_error() -> None:
    with pytest.raises(SpecError) as refused:
        text("a")("x", "b" * 100_000)
    assert len(str(refused.value)) < 120
