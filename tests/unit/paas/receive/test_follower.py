"""A deployment is followed across an outage of the API: no line comes twice, and its end is the push's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from paas.nouns.errors import Conflict, DeployFailed, PaasError
from paas.receive import follower
from paas.receive.api import AppRepository, Lost
from paas.receive.dulwich_protocol import Refused
from paas.receive.follower import DeploymentFollower
from paas.receive.progress import Progress

APP = AppRepository("a0123456789", "hello", ("main",), None, last_deployment=4, last_release=3)
FAILED = DeployFailed("web.1 exited.")
Attempt = tuple[tuple[str, ...], Exception | None]


class Attempts:
    """The API: each request gets the lines and the end of the next attempt."""

    def __init__(self, *attempts: Attempt) -> None:
        self.left = list(attempts)
        self.requests: list[dict[str, Any]] = []

    def deploy(
        self, name: str, request: dict[str, Any], say: Callable[[str], None], tick: Callable[[], None]
    ) -> None:
        assert name == "hello"
        self.requests.append(request)
        lines, end = self.left.pop(0)
        for line in lines:
            say(line)
        if end is not None:
            raise end


def follow(api: Attempts) -> tuple[list[bytes], Exception | None]:
    said: list[bytes] = []
    try:
        DeploymentFollower(cast(Any, api), APP, Progress(said.append)).deploy({"commit": "c"})
    except (PaasError, Refused) as error:
        return said, error
    return said, None


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_RETRY_S", 0)


@pytest.mark.parametrize("end", [None, Refused(FAILED), Conflict("Another deployment is at work.")])
def test_the_end_of_the_deployment_is_that_of_the_push(end: Exception | None) -> None:
    api = Attempts((("one",), end))
    assert follow(api) == ([b"one\n"], end)
    assert api.requests == [{"commit": "c"}]


@pytest.mark.parametrize("end", [None, Refused(FAILED)])
def test_it_is_asked_for_again_after_an_outage_and_no_line_comes_twice(end: Exception | None) -> None:
    lost = Lost("The platform's api does not answer.")
    api = Attempts((("one", "two"), lost), ((), lost), (("one", "two", "three"), end))
    said, error = follow(api)
    assert error is end
    assert [line for line in said if not line.startswith(b" !")] == [b"one\n", b"two\n", b"three\n"]
    again = {"commit": "c", "last_deployment": 4, "last_release": 3}
    assert api.requests == [{"commit": "c"}, again, again]
    assert any(b"broke off" in line for line in said)


def test_nobody_knows_how_it_ended_when_the_outage_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_OUTAGE_S", -1)
    _, error = follow(Attempts(((), Lost("The platform's api does not answer."))))
    assert isinstance(error, PaasError) and "may be live, or not" in error.message
