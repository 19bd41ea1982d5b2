from __future__ import annotations

import time

import pytest

from buildpacks.globs import matches, parts_of


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "a/b.txt", False),
        ("a/*", "a/b", True),
        ("**/b", "b", True),
        ("**/b", "a/c/b", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**", "a", True),
        ("[^a]?", "bc", True),
        ("[^a]?", "ac", False),
    ],
)
def test_a_pattern_fits_part_by_part(pattern: str, path: str, fits: bool) -> None:
    assert matches(parts_of(pattern.split("/")), path.split("/")) is fits


def test_many_stars_take_no_more_than_their_number_times_the_path() -> None:
    before = time.process_time()
    assert not matches(parts_of(["*a" * 60 + "b"]), ["a" * 250])
    assert not matches(parts_of(["**", "x"] * 60), ["a"] * 1000)
    assert time.process_time() - before < 5


def test_a_part_longer_than_the_name_of_a_file_matches_nothing_and_costs_nothing() -> None:
    before = time.process_time()
    assert not matches(parts_of(["[" * 1_000_000]), ["["])
    assert not matches(parts_of(["*" * 256]), ["a"])
    assert matches(parts_of(["*" * 255]), ["a"])
    assert time.process_time() - before < 5
