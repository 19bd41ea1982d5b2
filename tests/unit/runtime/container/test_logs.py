from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.container.logs import Allowance, Journal, LineSplitter, Ring, sanitize, stamp


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"plain text", b"plain text"),
        (b"tab\tstays", b"tab\tstays"),
        (b"ends in cr\r", b"ends in cr"),
        (b"10%\r20%\r", b"10% 20%"),
        (b"\x1b[1;31mred\x1b[0m", b"red"),
        (b"\x1b]0;title\x07after", b"after"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", b"link"),
        (b"\x1bPdata\x1b\\after", b"after"),
        (b"\x1b(Bcharset", b"charset"),
        (b"\x1b", b""),
        (b"nul\x00bell\x07back\x08del\x7f", b"nulbellbackdel"),
        ("C1 \x9b31m".encode(), b"C1 31m"),
        ("right \u202eto left".encode(), b"right to left"),
        ("line \u2028separator".encode(), b"line separator"),
        ("grüße 🎉".encode(), "grüße 🎉".encode()),
        (b"broken \xff utf-8", "broken � utf-8".encode()),
    ],
)
def test_a_line_becomes_harmless(raw: bytes, clean: bytes) -> None:
    assert sanitize(raw) == clean


@given(st.binary())
def test_no_bytes_whatever_yield_a_control_character(raw: bytes) -> None:
    text = sanitize(raw.replace(b"\n", b"")).decode()
    assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text)


@given(st.lists(st.binary(max_size=40)), st.integers(4, 30))
def test_lines_do_not_depend_on_how_they_were_read(pieces: list[bytes], most: int) -> None:
    whole, parts = LineSplitter(most), LineSplitter(most)
    at_once = whole.feed(b"".join(pieces)) + whole.finish()
    one_by_one = [line for piece in pieces for line in parts.feed(piece)] + parts.finish()
    assert at_once == one_by_one


def test_a_long_line_is_split_between_characters() -> None:
    splitter = LineSplitter(10)
    lines = splitter.feed("ä".encode() * 12 + b"\n")
    assert [line.decode() for line in lines] == ["ä" * 5, "ä" * 5, "ä" * 2]


def test_an_endless_line_uses_little_memory() -> None:
    splitter = LineSplitter(100)
    lines = [line for _ in range(50) for line in splitter.feed(b"x" * 1000)]
    assert sum(map(len, lines)) + len(b"".join(splitter.finish())) == 50_000
    assert max(map(len, lines)) == 100


def test_the_last_line_needs_no_line_end() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntwo") == [b"one"]
    assert splitter.finish() == [b"two"]
    assert splitter.finish() == []


@pytest.mark.parametrize(
    ("now", "text"),
    [(0.0, "1970-01-01T00:00:00.000000+00:00"), (1785880395.123456, "2026-08-04T21:53:15.123456+00:00"),
     (1785880395.9999999, "2026-08-04T21:53:16.000000+00:00")],
)  # fmt: skip
def test_a_moment_has_one_fixed_form(now: float, text: str) -> None:
    assert stamp(now) == text


def test_lines_carry_time_source_and_process() -> None:
    journal = Journal("app", "web.1")
    out = journal.format([b"one", b"two"], wall=0.0, now=0.0)
    head = b"1970-01-01T00:00:00.000000+00:00 app[web.1]: "
    assert out == head + b"one\n" + head + b"two\n"


def test_beyond_the_rate_lines_are_counted_and_told_of_once() -> None:
    journal = Journal("app", "web.1", Allowance(rate=100, burst=200, left=200))
    line = b"x" * 40
    out = journal.format([line] * 10, wall=0.0, now=0.0)
    kept = out.count(b"app[web.1]")
    assert 0 < kept < 10 and journal.dropped == 10 - kept
    later = journal.format([b"late"], wall=1.0, now=10.0)
    assert f"paas[web.1]: dropped {10 - kept} lines\n".encode() in later
    assert later.endswith(b"app[web.1]: late\n")
    assert journal.dropped == 0 and journal.take_note(2.0, 11.0) == b""


def test_a_flood_is_noted_once_a_second() -> None:
    journal = Journal("app", "web.1", Allowance(rate=1000, burst=200, left=200))
    out = b"".join(journal.format([b"x" * 40] * 10, wall=0.0, now=0.05 * step) for step in range(60))
    assert 2 <= out.count(b"dropped") <= 4


def test_what_remains_of_a_line_that_was_given_up_is_no_line() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == [b"one"]
    assert splitter.forget(b"o\nthree\nfo") == 3
    assert splitter.forget(b"u") == 0
    assert splitter.feed(b"r") == []
    assert splitter.feed(b"\nfive\n") == [b"five"]


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 3)), max_size=50))
def test_no_more_passes_than_rate_and_burst_allow(takes: list[tuple[int, float]]) -> None:
    allowance, now, passed = Allowance(rate=100, burst=300, left=300), 0.0, 0
    for size, pause in takes:
        now += pause
        passed += size if allowance.take(size, now) else 0
        assert passed <= 300 + 100 * now + 1e-6


def ring(folder: Path, cap: int) -> tuple[Ring, list[Path]]:
    paths = [folder / "i1.0.log", folder / "i1.1.log"]
    fds = [os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND) for path in paths]
    return Ring((fds[0], fds[1]), cap), paths


def test_two_files_take_turns_and_the_newest_lines_are_kept(tmp_path: Path) -> None:
    written, paths = ring(tmp_path, 100)
    for number in range(40):
        written.write(b"line %03d\n" % number)
        assert all(path.stat().st_size <= 100 for path in paths)
    text = b"".join(sorted(path.read_bytes() for path in paths))
    numbers = [int(line.split()[1]) for line in text.splitlines()]
    assert numbers == list(range(40 - len(numbers), 40)) and len(numbers) > 10


def test_a_ring_goes_on_where_it_was(tmp_path: Path) -> None:
    first, _ = ring(tmp_path, 100)
    for _ in range(12):
        first.write(b"ten bytes\n")
    again, paths = ring(tmp_path, 100)
    again.write(b"the latest")
    assert paths[1].read_bytes().endswith(b"the latest")
