"""Logs on the command line: filters as people type them, lines that cannot harm a terminal."""

from __future__ import annotations

import json

import pytest
from harness.cli import Shell
from harness.flask_api import FlaskApi
from harness.rows import app_of

from paas.api.logs import _source
from paas.cli.logs import SOURCES
from paas.nouns.errors import BadInput

AT = "2026-08-04T21:53:15.123456+00:00"


@pytest.fixture
def printed(api: FlaskApi, app: str) -> str:
    """An app whose first web process has printed something."""
    folder = api.layout.logs / app_of(api, app).id
    (folder / "i1.0.log").write_text(f"{AT} app[web.1]: one: two\n{AT} app[web.1]: \x1b[2Jthree\n")
    return app


def test_lines_come_as_they_are_but_harmless(paas: Shell, printed: str) -> None:
    assert paas("logs", "-s", "app").out == f"{AT} app[web.1]: one: two\n{AT} app[web.1]: three\n"
    assert paas("logs", printed, "-p", "web", "-n", "1").out.endswith("three\n")


def test_a_line_for_a_program_has_its_parts(paas: Shell, printed: str) -> None:
    first, second = (json.loads(line) for line in paas("logs", "-d", "web.1", "--json").out.splitlines())
    assert first == {"at": AT, "source": "app", "dyno": "web.1", "message": "one: two"}
    assert second["message"].endswith("three")


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["--since", "5m", "-s", "app"], "No line of the log is like that.\n"),
        (["-d", "web.7"], "No line of the log is like that.\n"),
        (["-n", "0"], ""),
    ],
)
def test_that_no_line_matches_is_said_and_no_line_wanted_is_not(
    paas: Shell, printed: str, words: list[str], note: str
) -> None:
    assert (told := paas("logs", *words)).status == 0
    assert (told.out, told.err) == ("", note)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["-s", "kernel"], 2, "'kernel' is not one of"),
        (["-n", "10001"], 2, "10001"),
        (["--since", "soon"], 1, "'soon' is not a time."),
        (["--request", "x"], 1, "'x' is not a request id."),
        (["--release", "new"], 1, "'new'"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(
    paas: Shell, printed: str, words: list[str], status: int, message: str
) -> None:
    told = paas("logs", *words)
    assert (told.status, told.out) == (status, "")
    assert message in told.err


def test_the_sources_are_those_of_the_api() -> None:
    assert [_source(name) for name in SOURCES] == list(SOURCES)
    with pytest.raises(BadInput):
        _source("kernel")
