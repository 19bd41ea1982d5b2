"""Names in a layer."""

from __future__ import annotations

import pytest

from runtime.image.errors import BadArchive
from runtime.image.names import digest_hex, hidden, normal, shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"a", b"a"),
        (b"./a/b", b"a/b"),
        (b"a/", b"a"),
        (b"./", b""),
        (b".", b""),
        (b"././a", b"a"),
        (b"...", b"..."),
    ],
)
def test_archive_paths_have_one_form(given: bytes, expected: bytes) -> None:
    assert normal(given) == expected


@pytest.mark.parametrize(
    "bad", [b"", b"/", b"//", b"/a", b"a/../b", b"..", b"a/./b", b"a//b", b"n" * 256, b"a\0b"]
)
def test_other_paths_are_refused(bad: bytes) -> None:
    with pytest.raises(BadArchive):
        normal(bad)


def test_whiteout_names() -> None:
    assert hidden(b"plain") is None and hidden(b".wh.x") == b"x" and hidden(b".whx") is None
    for bad in (b".wh.", b".wh..", b".wh...", b".wh..wh.x", b".wh..wh..opq"):
        with pytest.raises(BadArchive):
            hidden(bad)


def test_messages_never_carry_control_characters() -> None:
    text = shown(b"a\n\x1b[31m\xff" * 100)
    assert text.isprintable() and text.isascii() is False and len(text) <= 120


@pytest.mark.parametrize(
    "bad", ["", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 64, "../x"]
)
def test_only_sha256_digests_name_layers(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a sha256 digest"):
        digest_hex(bad)
