"""Lines for the pusher: harmless, wrapped, in the grammar."""

from __future__ import annotations

import pytest

from paas.nouns.errors import BuildFailed, DeployFailed
from paas.nouns.units import elapsed
from paas.receive import progress


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext ü €", "plain\ttext ü €"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdcs\x1b\\x", "x"),
        ("\x1b(Bx\x1b7y\x1bcz", "xyz"),
        ("a\rremote: ok", "aremote: ok"),
        ("a\x9b31mb", "a31mb"),
        ("\u202eevil\u2066", "evil"),
        ("a\x00b\x07c\x08d\x7f", "abcd"),
        ("\x1b[", ""),
        ("a\ud800b", "a?b"),
    ],
)
def test_control_bytes_never_pass(text: str, shown: str) -> None:
    assert progress.harmless(text) == shown


def test_very_long_lines_are_cut() -> None:
    assert len(progress.harmless("x" * 10**6)) < 2100


def test_sentences_are_wrapped_and_long_words_kept() -> None:
    lines = progress.warning("word " * 40 + "y" * 200)
    assert all(line.startswith(" !     ") for line in lines)
    assert [len(line) > progress.WIDTH for line in lines] == [False] * (len(lines) - 1) + [True]


def test_failure_names_the_cause_first_and_once() -> None:
    error = DeployFailed("web.1 used 256M of 256M.", "Give it more.", cause="out of memory", lines=("a", "b"))
    assert progress.failure(error) == [
        " !     Out of memory: web.1 used 256M of 256M.",
        " !     Give it more.",
        "       a",
        "       b",
    ]
    assert progress.failure(BuildFailed("Build command failed: npm.", cause="build command failed")) == [
        " !     Build command failed: npm."
    ]


def test_durations() -> None:
    assert elapsed(9.99) == "9 s"
    assert elapsed(185) == "3 min 5 s"


def test_silence_is_broken_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    said_so_far = progress.Progress(said.append)
    said_so_far.begin("at work")
    for second in range(1, 31):
        now[0] = 100.0 + second
        said_so_far.tick()
        if second == 15:
            said_so_far.say("-----> Something")
    assert said == [
        b"       Still at work (10 s)\n",
        b"-----> Something\n",
        b"       Still at work (25 s): Something\n",
    ]
