"""Commits as they are told, and the tar that is made of a tree."""

from __future__ import annotations

import io
import tarfile

import pytest

from paas.nouns.errors import BadInput
from paas.receive.export import header, leaves_tree, parse_commit


@pytest.mark.parametrize(
    ("path", "target", "leaves"),
    [
        (b"a", b"b", False),
        (b"d/a", b"../b", False),
        (b"a", b"../b", True),
        (b"d/a", b"../../b", True),
        (b"a", b"/etc/passwd", True),
        (b"a", b"x/../../y", True),
        (b"a", b"./x//../y", False),
    ],
)
def test_links_that_leave_the_tree(path: bytes, target: bytes, leaves: bool) -> None:
    assert leaves_tree(path, target) is leaves


@pytest.mark.parametrize("name", [b"app/x", b"n" * 100, b"n" * 101, b"d/" * 400 + b"x", b"caf\xe9", b"a\nb"])
@pytest.mark.parametrize("link", [b"", b"t" * 100, b"t" * 600])
def test_headers_read_as_they_were_written(name: bytes, link: bytes) -> None:
    kind = b"2" if link else b"0"
    raw = header(name, size=0, mode=0o777, kind=kind, link=link) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(raw), encoding="utf-8", errors="surrogateescape") as archive:
        [member] = archive.getmembers()
    assert member.name.encode("utf-8", "surrogateescape") == name
    assert member.linkname.encode() == link
    assert (member.uid, member.mtime, member.mode) == (1000, 315532800, 0o777)


def test_commit_is_told_in_harmless_lines() -> None:
    raw = (
        b"tree %s\nauthor A\x1b[31m <a@x.io\r> 1 +0000\ncommitter C <c@x> 1 +0000\n\n\nSub\x07ject \xff\nbody"
        % (b"1" * 40)
    )
    told = parse_commit(raw)
    assert told.tree == "1" * 40
    assert told.author == "a@x.io"
    assert told.subject == "Subject \ufffd"


@pytest.mark.parametrize("raw", [b"", b"tree short\n\nx", b"parent x\n\n"])
def test_commit_without_a_tree(raw: bytes) -> None:
    with pytest.raises(BadInput):
        parse_commit(raw)
