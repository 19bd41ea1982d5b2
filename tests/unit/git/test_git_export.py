"""Trees as git lists them, and the tar that is made of them."""

from __future__ import annotations

import io
import tarfile

import pytest

from paas.errors import BadInput
from paas.git.export import Entry, check_entries, header, leaves_tree, parse_commit, parse_entries
from paas.git.limits import Limits

OID = b"1" * 40
LIMITS = Limits(source_bytes=1000, files=3)


def entry(path: bytes, mode: str = "100644", size: int = 1) -> Entry:
    return Entry(path, mode, OID, size)


def test_listing_is_sorted_by_bytes_and_keeps_odd_names() -> None:
    records = (
        b"100644 blob %s      12\tz",
        b"120000 blob %s 3\ta\tb\nc\xff",
        b"160000 commit %s       -\tmod",
    )
    listing = b"".join(record % OID + b"\0" for record in records)
    assert parse_entries(listing) == [
        entry(b"a\tb\nc\xff", "120000", 3),
        entry(b"mod", "160000", 0),
        entry(b"z", size=12),
    ]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([], "contains no files"),
        ([entry(b"lib", "160000")], "Submodules are not fetched: 'lib'"),
        ([entry(b"%d" % number) for number in range(4)], "contains 4 files; 3 are allowed"),
        ([entry(b"a", size=600), entry(b"b", size=600)], "have 1.2 KB; the limit is 1000 bytes"),
        ([entry(b"x"), entry(b"x")], "twice"),
        ([entry(b"x"), entry(b"x/y")], "twice"),
        ([entry(b"../x")], "not a path"),
        ([entry(b"a/./x")], "not a path"),
        ([entry(b"a//x")], "not a path"),
        ([entry(b"/x")], "not a path"),
        ([entry(b"a/.GIT/config")], "not a path"),
        ([entry(b"n" * 256)], "not a path"),
        ([entry(b"d/" * 2000 + b"x")], "too long"),
        ([entry(b"dev", "020666")], "has the mode 020666"),
        ([entry(b"suid", "104755")], "has the mode 104755"),
    ],
)
def test_what_cannot_become_a_source(entries: list[Entry], sentence: str) -> None:
    with pytest.raises(BadInput) as refusal:
        check_entries(entries, LIMITS)
    assert sentence in refusal.value.message


def test_what_can() -> None:
    check_entries([entry(b"a-b/x", "100755"), entry(b"a/x", "100664"), entry(b"a0", "120000")], LIMITS)


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
        % OID
    )
    told = parse_commit(raw)
    assert told.tree == OID.decode()
    assert told.author == "a@x.io"
    assert told.subject == "Subject \ufffd"


@pytest.mark.parametrize("raw", [b"", b"tree short\n\nx", b"parent x\n\n"])
def test_commit_without_a_tree(raw: bytes) -> None:
    with pytest.raises(BadInput):
        parse_commit(raw)
