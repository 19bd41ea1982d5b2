"""Apps through the api: made, renamed, bounded in number, confirmed before they go."""

from __future__ import annotations

import pytest
from harness.flask_api import FlaskApi

from paas.api import apps


def test_an_app_is_renamed_and_another_branch_deployed(api: FlaskApi, name: str) -> None:
    reply = api.ask("PATCH", f"/v1/apps/{name}", {"name": "renamed", "deploy_branch": "production"})
    assert (reply.json["name"], reply.json["deploy_branch"]) == ("renamed", "production")
    assert api.ask("GET", f"/v1/apps/{name}").status == 404
    assert api.ask("PATCH", "/v1/apps/renamed", {"name": name}).status == 200


def test_without_a_name_one_is_made_up(api: FlaskApi, name: str) -> None:
    adjective, thing, number = name.split("-")
    assert adjective in apps._ADJECTIVES.split() and thing in apps._THINGS.split() and len(number) == 4


def test_a_former_name_leads_to_the_new_one(api: FlaskApi, name: str) -> None:
    api.ask("PATCH", f"/v1/apps/{name}", {"name": f"{name}x"})
    error = api.ask("GET", f"/v1/apps/{name}").error
    assert (error["message"], error["cause"]) == (f"The app {name} is called {name}x now.", "renamed")
    assert f"Use: -a {name}x" in error["hint"]


def test_nothing_is_destroyed_without_the_name(api: FlaskApi, name: str) -> None:
    assert api.ask("DELETE", f"/v1/apps/{name}", {"confirm": "another"}).status == 422
    assert api.ask("GET", f"/v1/apps/{name}").status == 200


def test_a_destroyed_app_is_gone_for_its_owner_at_once(
    api: FlaskApi, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "_DESTROY_WAIT_S", 0.0)  # no loop runs here that would take the rest away
    reply = api.ask("DELETE", f"/v1/apps/{name}", {"confirm": name})
    assert reply.json == {"name": name, "destroyed": False}
    assert api.ask("GET", f"/v1/apps/{name}").status == 404
