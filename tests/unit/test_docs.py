"""The pages that lead through the code name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildpacks.detect import BUILDPACKS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["docs/architecture.md", "CONTRIBUTING.md"]
PATH = r"`((?:paas|router|runtime|buildpacks|templates|tests|docs|examples)/[\w./-]*)`"
PLACEHOLDER = re.compile(r"NOUN|LANGUAGE|NNNN|NAME")


def _paths(text: str) -> set[str]:
    return {path for path in re.findall(PATH, text) if not PLACEHOLDER.search(path)}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    paths = _paths((ROOT / page).read_text())
    assert paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_function_named_after_its_file_is_in_it(page: str) -> None:
    text = (ROOT / page).read_text()
    for path, name in re.findall(PATH + r"\s+`([A-Za-z_][\w.]*)`", text):
        for part in name.split("."):
            source = (ROOT / path).read_text()
            assert re.search(rf"^\s*(?:(?:def|class) {part}\b|{part}\b.*=)", source, re.M), f"{path}: {name}"


def test_a_walk_says_how_many_files_it_crosses() -> None:
    walks = re.findall(
        r"^### ([^\n]*) \((\d+) files\)\n(.*?)(?=^##)", (ROOT / PAGES[0]).read_text(), re.M | re.S
    )
    assert walks
    assert {title: int(count) for title, count, _ in walks} == {
        title: len(_paths(text)) for title, _, text in walks
    }


def _tested_rows() -> list[str]:
    """The rows of each table of docs/buildpacks.md whose last column is the test."""
    tables = re.findall(
        r"^\|[^\n]*\| test \|\n\|[-|]+\n((?:\|[^\n]*\n)+)", (ROOT / "docs/buildpacks.md").read_text(), re.M
    )
    return [row for table in tables for row in table.splitlines()]


def test_each_row_of_what_can_be_pushed_names_a_test_that_is_there() -> None:
    rows = _tested_rows()
    assert rows
    for row in rows:
        named = re.search(r"`(tests/(?:unit|system)/[\w/]+\.py)::(test_\w+)` \|$", row)
        assert named, row
        assert re.search(rf"^def {named[2]}\(", (ROOT / named[1]).read_text(), re.M), row


def test_each_buildpack_has_its_row() -> None:
    told = [row.split("`")[1] for row in _tested_rows() if row.startswith("| `")]
    assert [pack.name for pack in BUILDPACKS if pack.name not in told] == []
