"""What `.slugignore` leaves out of a source."""

from __future__ import annotations

import pytest

from paas.nouns.errors import BadInput
from paas.receive.slugignore import MAX_PATTERNS, SlugIgnore


@pytest.mark.parametrize(
    ("pattern", "path", "left_out"),
    [
        ("*.psd", b"a.psd", True),
        ("*.psd", b"art/deep/a.psd", True),
        ("*.psd", b"a.psd.txt", False),
        ("test", b"test", True),
        ("test", b"lib/test", True),
        ("test", b"latest", False),
        ("/test", b"test", True),
        ("/test", b"lib/test", False),
        ("docs/*.md", b"docs/a.md", True),
        ("docs/*.md", b"docs/deep/a.md", False),
        ("docs/*.md", b"x/docs/a.md", False),
        ("docs/**/*.md", b"docs/a.md", True),
        ("docs/**/*.md", b"docs/x/y/a.md", True),
        ("docs/**/*.md", b"docs/x/y/a.txt", False),
        ("a/**/b/**/c", b"a/b/x/b/y/c", True),
        ("a/**/b/**/c", b"a/x/y/c", False),
        ("a/**", b"a/x", True),
        ("file?.[ch]", b"src/file1.c", True),
        ("file?.[!ch]", b"src/file1.c", False),
        ("(a|b)", b"a", False),
        ("\u00e9t\u00e9", "\u00e9t\u00e9".encode(), True),
        ("# test", b"# test", False),
        ("!test", b"test", False),
        ("", b"test", False),
        ("/", b"test", False),
        ("a\\b", b"a\\b", True),
    ],
)
def test_patterns_name_files_as_heroku_has_it(pattern: str, path: bytes, left_out: bool) -> None:
    assert SlugIgnore(pattern.encode()).leaves_out(path, folder=False) is left_out


def test_a_folder_goes_with_all_that_is_below_it() -> None:
    ignore = SlugIgnore(b"spec/\n")
    listing = [(b"lib", True), (b"lib/spec", False), (b"spec", True), (b"spec/a", False), (b"spec/d", True)]
    listing += [(b"spec/d/b", False), (b"spec.txt", False)]
    kept = [path for path, folder in listing if not ignore.leaves_out(path, folder=folder)]
    assert kept == [b"lib", b"lib/spec", b"spec.txt"]
    assert ignore.count == 2, "folders are not counted"


def test_a_pattern_that_would_backtrack_is_matched_at_once() -> None:
    ignore = SlugIgnore(b"*a" * 40 + b"b\n" + b"**/a/" * 40 + b"b\n")
    assert not ignore.leaves_out(b"a" * 250, folder=False)
    assert not ignore.leaves_out(b"a/" * 1800 + b"c", folder=False)


def test_too_many_patterns_are_refused() -> None:
    SlugIgnore(b"x\n#\n" * MAX_PATTERNS)
    with pytest.raises(BadInput, match=f"{MAX_PATTERNS + 1} patterns"):
        SlugIgnore(b"x\n" * (MAX_PATTERNS + 1))
