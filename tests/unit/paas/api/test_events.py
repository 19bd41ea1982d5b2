"""Events through the api: everything for administrators, their own apps' for others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.flask_api import FlaskApi


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FlaskApi]:
    """A platform on its first day."""
    made = FlaskApi(tmp_path)
    yield made
    made.close()


def token(api: FlaskApi, user: str) -> str:
    api.ask("POST", "/v1/users", {"name": user})
    return str(api.ask("POST", "/v1/tokens", {"name": "t", "user": user}).json["token"])


def verbs(api: FlaskApi, query: str = "", **who: Any) -> list[str]:
    return [event["verb"] for event in api.ask("GET", f"/v1/events{query}", **who).json["events"]]


def test_a_member_sees_what_happened_to_their_apps_and_nothing_else(api: FlaskApi) -> None:
    ann, bob = token(api, "ann"), token(api, "bob")
    api.ask("POST", "/v1/apps", {"name": "anns"}, token=ann)
    api.ask("POST", "/v1/apps", {"name": "bobs"}, token=bob)
    api.ask("PATCH", "/v1/apps/bobs", {"name": "new"}, token=bob)
    assert verbs(api, token=bob) == ["app.create", "app.rename"]
    assert verbs(api, token=ann) == verbs(api) and "user.add" in verbs(api), (
        "the first user is the administrator"
    )


def test_a_page_goes_on_after_the_last_one(api: FlaskApi) -> None:
    for name in ("one", "two", "three"):
        api.ask("POST", "/v1/apps", {"name": name})
    first = api.ask("GET", "/v1/events?limit=2").json["events"]
    assert [event["detail"]["name"] for event in first] == ["one", "two"]
    (rest,) = api.ask("GET", f"/v1/events?after={first[-1]['seq']}").json["events"]
    assert (rest["detail"]["name"], rest["actor"]) == ("three", "root")


@pytest.mark.parametrize("query", ["?limit=0", "?limit=1001", "?after=-1", "?after=x", "?since=5"])
def test_a_page_that_cannot_be_is_refused(api: FlaskApi, query: str) -> None:
    assert api.ask("GET", f"/v1/events{query}").status == 422
