from __future__ import annotations

import pytest

from paas.manifest.procfile import MAX_BYTES, doubts, parse_procfile
from paas.nouns.errors import BadInput


def test_types_keep_their_order_and_their_command_to_the_letter() -> None:
    text = b"web: gunicorn app:app --bind 0.0.0.0:$PORT\nworker: python w.py; echo 'a: b'\nrelease: ./m.sh | cat\n"
    assert list(parse_procfile(text).items()) == [
        ("web", "gunicorn app:app --bind 0.0.0.0:$PORT"),
        ("worker", "python w.py; echo 'a: b'"),
        ("release", "./m.sh | cat"),
    ]


def test_comments_blank_lines_crlf_and_byte_order_mark_are_accepted() -> None:
    text = (
        b"\xef\xbb\xbf# processes\r\n\r\n  web : run me  \r\n   # more\r\nclock_2-a:tick # every second\r\n"
    )
    assert parse_procfile(text) == {"web": "run me", "clock_2-a": "tick # every second"}


def test_empty_file_declares_nothing() -> None:
    assert parse_procfile(b"") == {}
    assert parse_procfile(b"# only a comment\n") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"web: a\nworker\n", 'line 2: "worker" has no colon'),
        (b"\nweb:\n", "line 2: type web has no command"),
        (b"web: a\nweb: b\n", "line 2: type web is declared twice (first on line 1)"),
        (b"web gunicorn app:app\n", 'line 1: no colon after "web"'),
        (b"-web: x\n", "is not a process type"),
        (b"../x: y\n", "is not a process type"),
        ("wéb: y\n".encode(), "is not a process type"),
        (b"a" * 64 + b": y\n", "is not a process type"),
        (b"$(touch x): y\n", "is not a process type"),
        (b": y\n", "is not a process type"),
        (b"run: y\n", "line 1: run is a name the platform uses itself"),
        (b"web: a\n\n\xff: b\n", "line 3: is not UTF-8"),
        (b"web: a\nb: \x00\n", "line 2: contains a NUL byte"),
        (b"\xff\xfew\x00e\x00", "is UTF-16"),
        (b"x" * (MAX_BYTES + 1), "at most"),
        (b"".join(b"t%d: x\n" % n for n in range(51)), "declares 51 types"),
    ],
)
def test_bad_line_is_refused_and_named(text: bytes, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_procfile(text)
    assert said in caught.value.message


def test_refused_text_is_shown_short_and_printable() -> None:
    with pytest.raises(BadInput) as caught:
        parse_procfile(b"\x1b[31m" + b"y" * 500 + b"\n")
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 140


def test_type_of_63_characters_is_the_longest() -> None:
    assert parse_procfile(b"a" * 63 + b": y\n") == {"a" * 63: "y"}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (["Web"], ["is Web meant to be web?"]),
        (["WEB", "worker"], ["is WEB meant to be web?"]),
        (["wbe"], ["is wbe meant to be web?"]),
        (["webb"], ["is webb meant to be web?"]),
        (["wb"], ["is wb meant to be web?"]),
        (["wep"], ["is wep meant to be web?"]),
        (["web", "Worker"], ["is Worker meant to be worker?"]),
        (["web", "Release", "wroker"], ["is Release meant to be release?", "is wroker meant to be worker?"]),
        (["web", "worker", "Worker"], ["worker and Worker are two types; are they meant to be one?"]),
        (["web", "web2", "clock", "release", "mailer"], []),
        (["api", "job", "w", "beat", "urgentworker"], []),
    ],
)
def test_a_slip_of_the_pen_is_asked_about(declared: list[str], said: list[str]) -> None:
    assert doubts(declared) == [f"Procfile: {sentence}" for sentence in said]
