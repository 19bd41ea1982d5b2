"""A canary on the command line, against the api."""

from __future__ import annotations

import json

import pytest
from harness.cli import Shell
from harness.flask_api import FlaskApi
from harness.rows import deployed, loop_at_work


@pytest.fixture
def twice(api: FlaskApi, paas: Shell, app: str) -> str:
    """An app whose second release serves, by one instance."""
    deployed(api, app, web="old")
    deployed(api, app, web="new")
    with loop_at_work(api):
        assert paas("scale", "web=1").status == 0
    return app


def test_a_canary_goes_from_its_begin_to_its_promotion(paas: Shell, api: FlaskApi, twice: str) -> None:
    with loop_at_work(api):
        begun = paas("canary", "v1", "--share", "20%", "--count", "2")
        assert begun.err.splitlines()[-1].startswith(f"Starting canary v1 of {twice}... done")
        assert {line.split(" (")[0] for line in begun.err.splitlines()[:-1]} == {
            "       canary.1 up",
            "       canary.2 up",
        }
        head, serving, canary = paas("canary").out.splitlines()
        assert head.startswith(f"=== {twice} Canary v1 since ")
        assert serving.split("  ") == ["serving", "v2", "80 %", "1 of 1 up", "0 requests", "0 errors"]
        assert [word.strip() for word in canary.split("  ") if word][:4] == [
            "canary",
            "v1",
            "20 %",
            "2 of 2 up",
        ]
        assert paas("canary:share", "55").status == 0
        assert json.loads(paas("canary", "--json").out)["canary"]["share"] == 55
        promoted = paas("canary:promote")
    assert promoted.err == f"Promoting the canary of {twice}... done, v3 (from v1)\n"
    assert paas("canary").err == f"{twice} has no canary.\n"


def test_a_canary_that_is_stopped_leaves_the_serving_release(paas: Shell, api: FlaskApi, twice: str) -> None:
    with loop_at_work(api):
        paas("canary", "v1")
        stopped = paas("canary:stop")
    assert stopped.err.startswith(f"Stopping the canary of {twice}... done")
    again = paas("canary:stop")
    assert again.status == 1 and f"{twice} has no canary." in again.err
    assert "Begin one: paas canary v12 --share 10" in again.err


def test_one_that_does_not_come_up_fails_the_command(paas: Shell, api: FlaskApi, twice: str) -> None:
    with loop_at_work(api, failing="canary.1"):
        told = paas("canary", "v1")
    assert told.status == 1
    assert " !     The canary v1 is stopped\n" in told.err
    assert told.err.count("failed\n") == 1 and "canary.1 did not come up" in told.err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["canary", "--share", "5"], 2, "No release is named. A canary that runs has canary:share."),
        (["canary", "--count", "2"], 2, "No release is named."),
        (["canary", "v1", "--share", "101"], 2, "101 is not in the range"),
        (["canary:share", "-1"], 2, "-1"),
        (["canary:share", "half"], 2, "half"),
        (["canary", "v1", "--count", "0"], 2, "0 is not in the range"),
        (["canary", "newest"], 1, "'newest'"),
        (["canary", "v2"], 1, "v2 serves already."),
        (["canary:share", "5"], 1, "has no canary."),
        (["canary:promote"], 1, "has no canary."),
    ],
)
def test_what_cannot_be_is_refused(
    paas: Shell, twice: str, words: list[str], status: int, message: str
) -> None:
    told = paas(*words)
    assert (told.status, told.out) == (status, "")
    assert message in told.err, told.err
