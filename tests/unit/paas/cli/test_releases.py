"""Releases on the command line, against the api: listed, shown, rolled back."""

from __future__ import annotations

import json

import pytest
from harness.cli import Shell
from harness.flask_api import FlaskApi
from harness.rows import deployed, loop_at_work


@pytest.fixture
def twice(api: FlaskApi, app: str) -> str:
    """An app whose second release serves."""
    deployed(api, app, web="old")
    deployed(api, app, web="new\nlines")
    return app


def test_releases_are_listed_newest_first(paas: Shell, twice: str) -> None:
    head, gap, columns, *rows = paas("releases").out.splitlines()
    assert (head, gap) == (f"=== {twice} Releases - Current: v2", "")
    assert columns.split() == ["VERSION", "CHANGE", "BY", "WHEN"]
    assert [row.split()[:4] for row in rows] == [
        ["v2", "Deploy", "1234567", "ann"],
        ["v1", "Deploy", "1234567", "ann"],
    ]
    assert len(paas("releases", "-n", "1").out.splitlines()) == 4
    assert [one["version"] for one in json.loads(paas("releases", "--json").out)] == ["v2", "v1"]


def test_the_serving_release_is_shown_unless_another_is_named(paas: Shell, twice: str) -> None:
    shown = paas("releases:info").out
    assert shown.startswith(f"=== {twice} Release v2 (current)\n") and shown.endswith("  web: new lines\n")
    for version in ("v1", "1"):
        assert paas("releases:info", version).out.startswith(f"=== {twice} Release v1\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["releases:info", "v9"], "has no release v9."),
        (["rollback", "v9"], "v9"),
        (["releases:info", "latest"], "'latest'"),
        (["rollback", "v0"], "'v0'"),
    ],
)
def test_a_release_that_is_not_there_is_named_as_it_is_called(
    paas: Shell, twice: str, words: list[str], message: str
) -> None:
    told = paas(*words)
    assert (told.status, told.out) == (1, "")
    assert message in told.err, told.err


def test_before_the_first_push_there_is_no_release_to_show(paas: Shell, app: str) -> None:
    assert paas("releases").out == f"=== {app} Releases\n\n"
    assert (told := paas("releases:info")).status == 1 and "Nothing has been deployed" in told.err


def test_a_rollback_is_a_new_release_of_the_old_parts(paas: Shell, api: FlaskApi, twice: str) -> None:
    with loop_at_work(api):
        assert paas("rollback").err == f"Rolling back {twice} to the release before... done, v3 (from v1)\n"
        assert paas("releases:rollback", "v2").err == f"Rolling back {twice} to v2... done, v4\n"
    assert "Change: Rollback to v2\n" in paas("releases:info").out.replace(":  ", ": ")
