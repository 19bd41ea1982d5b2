"""Which files COPY takes of a push."""

from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.dockercopy import Context, Source
from buildpacks.plan import BuildRefused

FILES = ["a.txt", "b.md", "sub/a.txt", "sub/deep/c.md", "sub.txt", "other/d"]


def context(ignore: str = "", *more: str) -> Context:
    files = dict.fromkeys([*FILES, *more], "")
    return Context(DictTree({**files, ".dockerignore": ignore} if ignore else files))


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ("*.md", ["a.txt", "other/d", "sub.txt", "sub/a.txt", "sub/deep/c.md"]),
        ("**/*.md", ["a.txt", "other/d", "sub.txt", "sub/a.txt"]),
        ("/sub/\n# a comment\n\nother", ["a.txt", "b.md", "sub.txt"]),
        ("*\n!sub\nsub/deep", ["sub/a.txt"]),
        ("sub\n!sub/a.txt", ["a.txt", "b.md", "other/d", "sub.txt", "sub/a.txt"]),
        (".", ["a.txt", "b.md", "other/d", "sub.txt", "sub/a.txt", "sub/deep/c.md"]),
    ],
)
def test_dockerignore_leaves_out_and_takes_back(ignore: str, left: list[str]) -> None:
    assert [name for name in context(ignore).names if name != ".dockerignore"] == left


def test_the_ignore_file_of_the_dockerfile_comes_first() -> None:
    tree = DictTree({"a": "", "b": "", ".dockerignore": "a", "Dockerfile.dockerignore": "b\n*ignore"})
    assert Context(tree).names == ["a"]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("a.txt", [Source("a.txt", ("a.txt",), folder=False)]),
        ("./sub/deep/", [Source("sub/deep", ("sub/deep/c.md",), folder=True)]),
        ("/sub", [Source("sub", ("sub/a.txt", "sub/deep/c.md"), folder=True)]),
        (".", [Source("", tuple(sorted(FILES)), folder=True)]),
        ("*.txt", [Source(name, (name,), folder=False) for name in ("a.txt", "sub.txt")]),
        ("s*", [Source("sub.txt", ("sub.txt",), folder=False), Source("sub", ("sub/a.txt", "sub/deep/c.md"), folder=True)]),
        ("*/deep", [Source("sub/deep", ("sub/deep/c.md",), folder=True)]),
        ("../etc/passwd", []),
        ("/../etc", []),
        ("missing*", []),
    ],
)  # fmt: skip
def test_a_source_is_a_file_a_folder_or_what_a_pattern_fits(word: str, found: list[Source]) -> None:
    assert context().select(word) == found


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(BuildRefused, match=r"\.dockerignore has 201 patterns; 200 are allowed"):
        context("x\n" * 201)
    with pytest.raises(BuildRefused, match=r"200 patterns of \.dockerignore are too many for"):
        context("x\n" * 200, *(f"f{number}" for number in range(26000)))
