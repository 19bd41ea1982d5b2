"""TOML of strangers: dotted keys are bounded, everything else is read as tomllib reads it."""

from __future__ import annotations

import inspect
import tomllib
from importlib import import_module

import pytest

from buildpacks.toml import MOST_DOTTED, MOST_PARTS, toml_of


def test_what_the_platform_replaces_in_tomllib_has_the_shape_it_knows() -> None:
    parser = import_module("tomllib._parser")
    assert parser.parse_key.__module__ == "buildpacks.toml"
    for name, words in (("parse_key_part", ["src", "pos"]), ("skip_chars", ["src", "pos", "chars"])):
        assert list(inspect.signature(getattr(parser, name)).parameters) == words
    assert "parse_key(src, pos)" in inspect.getsource(parser.parse_key_value_pair)
    assert "parse_key(src, pos)" in inspect.getsource(parser.create_dict_rule)


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 8000) + "=1",
        "[" + ".".join(["a"] * 4000) + "]\n",
        "x = {" + " . ".join(['"a"'] * 100) + " = 1}",
    ],
)
def test_a_key_of_many_parts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"a key has more than {MOST_PARTS} parts .line 1."):
        toml_of(text)


def test_many_dotted_keys_are_refused_and_the_next_text_is_read() -> None:
    with pytest.raises(ValueError, match="together"):
        toml_of("".join(f"a{number}.b=1\n" for number in range(MOST_DOTTED)))
    assert toml_of("a.b = 1") == {"a": {"b": 1}}
    many = "".join(f"a{number}.b=1\n" for number in range(MOST_DOTTED // 4))
    for _ in range(3):
        assert len(tomllib.loads(many)) == MOST_DOTTED // 4, (
            "other readers of the process have no bound to use up"
        )


@pytest.mark.parametrize(
    "text",
    ["a = " + "9" * 5000, "\na = 0x" + "f" * 5000, "a = " + "[" * 5000, "a =", "a = 1\na = 2", "a.\n", "a."],
)
def test_every_fault_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(ValueError):
        toml_of(text)


def test_keys_in_use_are_read_as_ever() -> None:
    deepest = ".".join(["k"] * MOST_PARTS)
    for text in (
        f"{deepest} = 1",
        '[tool . "a.b".\'c\']\nx.y = "1.2.3.4"\n[[package]]\n[package.metadata]\nz = {q.r = [1]}',
    ):
        assert toml_of(text) == tomllib.loads(text)
