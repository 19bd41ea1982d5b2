"""What a build prints: bytes to harmless lines, and what is kept of them."""

from __future__ import annotations

import pytest

from paas.build.output import Output, PrintedLines, printable


def test_output_becomes_lines_however_it_is_cut() -> None:
    data = "one\ntwo é\r\n\x1b[31mred\x1b[0m\n10%\r100%\nlast".encode()
    whole = PrintedLines()
    expected = [*whole.feed(data), *whole.finish()]
    assert expected == ["one", "two é", "red", "100%", "last"]
    for step in (1, 2, 3, 7):
        lines = PrintedLines()
        got = [line for at in range(0, len(data), step) for line in lines.feed(data[at : at + step])]
        assert [*got, *lines.finish()] == expected


def test_a_line_without_end_takes_no_memory() -> None:
    lines = PrintedLines()
    for _ in range(100):
        assert lines.feed(b"x" * 65536) == []
    assert len(lines._unfinished) <= 16000
    assert len(lines.finish()[0]) <= 2002


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext", "plain\ttext"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("a\nb", "ab"),
        ("10%\r100%", "100%"),
        ("\x9b31mx\u202eevil", "31mxevil"),
        ("\x1b]0;title\x07x", "x"),
    ],
)
def test_a_line_is_harmless(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_output_beyond_the_cap_is_kept_for_the_failure_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paas.build.output.MAX_OUTPUT_BYTES", 100)
    heard: list[str] = []
    output = Output(heard.append)
    for number in range(1000):
        output.from_instance(f"line {number}")
    assert len(heard) < 20
    assert "the rest is not shown" in heard[-1]
    assert output.recent[-1] == "line 999"


def test_a_tool_s_own_sentence_is_kept_above_a_long_log_but_not_from_step_to_step() -> None:
    output = Output(lambda _line: None)
    output.from_instance("error: Failed to build `numpy==1.21.0`")
    for number in range(5000):
        output.from_instance(f"error: line {number} of a compiler" if number % 2 else "warning")
    assert output.errors[0] == "error: Failed to build `numpy==1.21.0`"
    assert len(output.errors) + len(output.recent) < 500
    output.begin_step()
    assert not output.errors
    assert not output.recent


def test_long_lists_of_installers_are_counted_after_their_first_lines() -> None:
    heard: list[str] = []
    output = Output(heard.append)
    printed = [f"npm warn deprecated p{number}" for number in range(40)] + ["added 9 packages"]
    printed += [f" + flask{number}==1.0" for number in range(5)] + [" + last==1.0"]
    printed += [f"Download https://registry.example/p{number}" for number in range(9)]
    for text in printed:
        output.from_instance(text)
    output.end_list()
    assert heard == [
        *(f"       {text}" for text in printed[:5]),
        "       … and 35 more such lines (npm warn)",
        "       added 9 packages",
        *(f"       {text}" for text in printed[41:46]),
        "       … and 1 more such lines (+)",
        *(f"       {text}" for text in printed[47:52]),
        "       … and 4 more such lines (Download)",
    ]
    assert list(output.recent) == printed


@pytest.mark.parametrize("line", ["    + 1 + 2", "+++ b/file", "npm error code E404", "warnings"])
def test_other_lines_are_no_list(line: str) -> None:
    heard: list[str] = []
    output = Output(heard.append)
    for _ in range(20):
        output.from_instance(line)
    assert len(heard) == 20
