"""Values of app.json: what passes, and that a refusal names the place."""

from __future__ import annotations

import pytest

from paas.manifest.jsonvalues import amount, flag, integer, load, number
from paas.nouns.errors import BadInput


def test_amounts_of_json_are_read_as_they_were_written() -> None:
    assert (amount("512M"), amount(1.5), amount(2)) == ("512M", "1.5", "2")


def test_bounds_are_inclusive() -> None:
    assert (integer("port", 1, 1, 9), integer("port", 9, 1, 9)) == (1, 9)
    assert (number("wait", 0, 0, 1.5), number("wait", "1.5", 0, 1.5)) == (0.0, 1.5)


@pytest.mark.parametrize("value", [True, "3", 0, 10, 3.0, None])
def test_what_is_no_whole_number_of_the_range_is_refused_by_name(value: object) -> None:
    with pytest.raises(BadInput, match=r"app\.json: port: .* is not a whole number from 1 to 9"):
        integer("port", value, 1, 9)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_only_true_and_false_are_flags(value: object) -> None:
    with pytest.raises(BadInput, match="is not true or false"):
        flag("required", value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a": 1,,}', "line 1, column"),
        (b'{\n"a": "\xff"}', "line 2: is not UTF-8"),
        (b'{"a": 1, "a": 2}', "appears twice"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_only_strict_json_is_loaded(data: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load(data)
