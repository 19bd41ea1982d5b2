"""The rules of bodies and query strings."""

from __future__ import annotations

from typing import Any

import pytest

from paas.api.bodies import Rule, boolean, dict_of, fields, list_of, text, whole
from paas.nouns.errors import BadInput

PAIR = fields({"a": whole(0, 9), "b": boolean})


@pytest.mark.parametrize(
    ("rule", "value", "parsed"),
    [
        (text, "a b", "a b"),
        (boolean, False, False),
        (boolean, "1", True),
        (boolean, "false", False),
        (whole(0, 9), 9, 9),
        (whole(0, 9), "0", 0),
        (list_of(whole(0, 9), 2), ["1", 2], [1, 2]),
        (dict_of(text, boolean), {"x": "true"}, {"x": True}),
        (PAIR, {"a": 1, "b": True}, {"a": 1, "b": True}),
        (fields({"a": text, "b": text}, needed=False), {"a": "x"}, {"a": "x"}),
    ],
)
def test_what_is_taken(rule: Rule, value: Any, parsed: Any) -> None:
    assert rule(value) == parsed


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (text, 5, "5 is not text of at most 4096 characters."),
        (text, "a\0", "is not text"),
        (lambda value: text(value, 2), "abc", "is not text of at most 2 characters."),
        (boolean, 1, "1 is neither true nor false."),
        (boolean, "yes", "neither true nor false"),
        (whole(0, 9), 10, "10 is not a whole number from 0 to 9."),
        (whole(0, 9), True, "true is not a whole number"),
        (whole(0, 9), 1.0, "1.0 is not a whole number"),
        (whole(0, 9), "٣", "is not a whole number"),
        (whole(0, 9), "0" * 5000, "is not a whole number"),
        (list_of(text, 1), ["a", "b"], "is not a list of at most 1."),
        (list_of(text, 1, " domains"), "a", "is not a list of at most 1 domains."),
        (dict_of(text, text, 1), {"a": "x", "b": "x"}, "is not an object of at most 1 keys."),
        (PAIR, {"a": 1}, "is not an object with the keys a, b."),
        (PAIR, {"a": 1, "b": True, "c": 1}, "is not an object with the keys a, b."),
    ],
)
def test_what_is_refused(rule: Rule, value: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        rule(value)
    assert message in caught.value.message
