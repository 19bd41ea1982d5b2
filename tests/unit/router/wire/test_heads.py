"""Header lines: the cache of lines and meanings, and the memory of one connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import request
from router.wire.heads import BadHead, HeadMemory, HeadReader, Line


def test_lines_that_come_again_are_known_and_the_memory_is_bounded() -> None:
    judged: Counter[bytes] = Counter()

    def judge(line: bytes) -> int:
        judged[line] += 1
        return 0

    reader = HeadReader(judge, len, frozenset([b"host", b"x-rnd"]), capacity=100)
    for number in range(1000):
        reader.read(b"Host: a\r\nX-Rnd: %d" % number)
    assert judged[b"Host: a"] == 1, "what is used stays known"
    assert len(judged) == 1001
    lines = reader._lines
    assert len(lines) + len(lines._old) <= 200


def test_as_many_hosts_as_are_expected_are_remembered() -> None:
    judged = 0

    def judge(line: bytes) -> Line:
        nonlocal judged
        judged += 1
        return Line(b"host", line, line, keep=True)

    reader = HeadReader(judge, len, frozenset([b"host"]))
    reader.expect(5000)
    for _ in range(3):
        for number in range(5000):
            reader.read(b"Host: %d.test\r\nAccept: */*" % number)
    assert judged == 5000


def test_plain_lines_are_remembered_without_being_judged_and_bounded_too() -> None:
    def judge(line: bytes) -> int:
        raise AssertionError(line)

    reader = HeadReader(judge, len, frozenset([b"host"]), capacity=100)
    for number in range(1000):
        assert reader.read(b"Accept: a\r\nX-Rnd: %d" % number) == 0
    lines = reader._lines
    assert len(lines) + len(lines._old) <= 200
    for line in (
        b"X-Rnd : 1",
        b"X_Rnd: 1",
        b"X-Rnd: \n",
        b"hOST: a",
        b"x-FORWARDED-x: 1",
        b"x" * 600 + b": y",
        b"Accept: " + b"y" * 600,
        b"X-Rnd",
    ):
        with pytest.raises(AssertionError):
            reader.read(line)


def test_what_long_lines_mean_is_not_remembered() -> None:
    reader = request.reader()
    meanings = reader._meanings
    for number in range(50):
        reader.read(b"Host: a\r\nX-Forwarded-For: %d%b" % (number, b", 1.1.1.1" * 500))
    assert len(meanings) == 0
    reader.read(b"Host: a\r\nContent-Length: 5")
    assert len(meanings) == 1


def test_a_line_that_is_relevant_alone_keeps_the_meaning_itself() -> None:
    reader = request.reader()
    alone = reader.read(b"Host: a\r\nAccept: */*")
    assert reader.read(b"Accept: text/html\r\nHost: a") is alone
    assert reader.read(b"Host: a\r\nContent-Length: 5").length == 5
    assert reader.read(b"Host: a") is alone and alone.length == 0
    assert len(reader._meanings) == 1
    with pytest.raises(BadHead):
        reader.read(b"Host: a\r\nHost: a")


def test_long_lines_are_not_remembered() -> None:
    judged: list[bytes] = []
    reader = HeadReader(lambda line: judged.append(line) or 0, len)
    for _ in range(3):
        reader.read(b"X: " + b"a" * 600)
    assert len(judged) == 3


def test_what_lines_mean_does_not_leak_into_other_heads() -> None:
    reader = request.reader()
    first = reader.read(b"Host: a\r\nContent-Length: 5\r\nX-Forwarded-For: 1.1.1.1")
    second = reader.read(b"Host: a")
    assert (first.length, first.forwarded_for) == (5, b"1.1.1.1, ")
    assert (second.length, second.forwarded_for, second.cuts) == (0, b"", ())
    with pytest.raises(BadHead):
        reader.read(b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked")
    assert reader.read(b"Host: a").length == 0


LINES = [
    b"Host: a", b"Accept: x", b"X-Rnd: 1", b"X-Rnd: 2", b"X-Rnd: \x01", b"X_Rnd: 1", b"Content-Length: 5", b"Content-Length: 6",
    b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: x-rnd", b"X-Forwarded-For: 1.1.1.1", b"X-Rnd", b"",
]  # fmt: skip


def outcome(read: Callable[[], request.RequestMeaning]) -> object:
    try:
        meaning = read()
    except BadHead as error:
        return str(error), error.status
    return {name: getattr(meaning, name) for name in dir(meaning) if not name.startswith("_")}


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=6), max_size=8))
def test_the_heads_before_change_nothing_in_what_a_head_means(heads: list[list[bytes]]) -> None:
    memory = HeadMemory(request.reader())
    for lines in heads:
        block = b"".join(line + b"\r\n" for line in lines)
        data = b"GET / HTTP/1.1\r\n" + block + b"\r\nHost: a\r\n"
        fresh = request.reader()
        alone = outcome(lambda fresh=fresh, lines=lines: fresh.meaning(fresh.relevant(lines)))
        assert outcome(lambda data=data, block=block: memory.read(data, 16, 16 + len(block))) == alone


def test_heads_that_differ_in_one_value_are_not_taken_apart() -> None:
    apart: list[bytes] = []
    reader = HeadReader(request.parse_line, lambda lines: "meaning", frozenset([b"host"]))
    known, reader._line = reader._line, lambda line: apart.append(line) or known(line)
    memory = HeadMemory(reader)

    def read(block: bytes) -> str:
        block = b"A: a\r\n%b\r\nC: c\r\n" % block
        return memory.read(b"GET / HTTP/1.1\r\n" + block + b"\r\n", 16, 16 + len(block))

    for number in range(9):
        assert read(b"B: %d" % number) == "meaning"
    assert apart.count(b"A: a") == 2
    for number, line in enumerate((b"B: 1\r\nD: 1", b"B: %b" % (b"1" * 600), b"B: 1\r\nB: 1", b"b: 1")):
        read(line)
        assert apart.count(b"A: a") == 3 + number, line
    for line in (b"b: \x01", b"b: 1\n"):
        with pytest.raises(BadHead):
            read(line)
