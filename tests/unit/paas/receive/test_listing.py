"""Trees as git lists them, and what of them is refused."""

from __future__ import annotations

import io

import pytest

from paas.nouns.errors import BadInput
from paas.receive.limits import Limits
from paas.receive.listing import Checks, Entry, parse_entry, records

OID = b"1" * 40
LIMITS = Limits(source_bytes=1000, files=4, path_bytes=4000)


def entry(path: bytes, mode: str = "100644", size: int = 1) -> Entry:
    return Entry(path, mode, OID, size)


def folder(path: bytes) -> Entry:
    return entry(path, "040000", 0)


def check(entries: list[Entry]) -> Checks:
    checks = Checks(LIMITS)
    for each in entries:
        checks.check(each)
    checks.finish()
    return checks


def test_odd_names_are_read_as_they_are() -> None:
    listed = (
        b"120000 blob %s 3\ta\tb\nc\xff",
        b"040000 tree %s       -\td",
        b"160000 commit %s       -\tmod",
        b"100644 blob %s      12\tz",
    )
    stream = io.BytesIO(b"".join(record % OID + b"\0" for record in listed))
    found = [parse_entry(record) for record in records(stream)]
    assert found == [
        entry(b"a\tb\nc\xff", "120000", 3),
        folder(b"d"),
        entry(b"mod", "160000", 0),
        entry(b"z", size=12),
    ]
    assert [parse_entry(each.record()[:-1]) for each in found] == found


def test_a_record_without_an_end_is_not_kept() -> None:
    with pytest.raises(BadInput, match="too long"):
        list(records(io.BytesIO(b"x" * 100_000)))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([], "contains no files"),
        ([folder(b"a")], "contains no files"),
        ([entry(b"lib", "160000")], "Submodules are not fetched: 'lib'."),
        ([entry(b"%d" % n, "160000") for n in range(4)], "fetched: '0', '1', '2' and 1 more."),
        ([entry(b"%d" % n) for n in range(5)], "more than 4 files and folders"),
        ([folder(b"a"), *(folder(b"a/%d" % n) for n in range(4))], "more than 4 files and folders"),
        ([entry(b"%d" % n + b"/d" * 700) for n in range(3)], "have more than 3.9 KiB together"),
        ([entry(b"a", size=600), entry(b"b", size=600)], "have 1.2 KiB; the limit is 1000 bytes"),
        ([entry(b"x"), entry(b"x")], "twice"),
        ([entry(b"x"), folder(b"x"), entry(b"x/y")], "twice"),
        ([entry(b"x"), entry(b"x.y"), folder(b"x")], "twice"),
        ([folder(b"x"), entry(b"x")], "twice"),
        ([entry(b"b"), entry(b"a")], "not sorted"),
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
        check(entries)
    assert sentence in refusal.value.message


def test_what_can() -> None:
    checks = check([entry(b"a"), entry(b"a.b", "100755"), folder(b"a0"), entry(b"a0/x", "120000", 5)])
    assert (checks.files, checks.bytes) == (3, 7)


def test_what_is_left_out_counts_as_an_entry_only() -> None:
    checks = Checks(LIMITS)
    for each in (entry(b"a", size=900), entry(b"lib", "160000"), entry(b"z", size=900)):
        checks.check(each, kept=each.path == b"z")
    checks.finish()
    assert (checks.files, checks.bytes) == (1, 900)
    with pytest.raises(BadInput, match="more than 4 files"):
        for number in range(4):
            checks.check(entry(b"zz%d" % number), kept=False)
