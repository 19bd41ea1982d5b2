"""Domains through the api: whose they are, and what a change of one leaves behind."""

from __future__ import annotations

import pytest
from harness.flask_api import FlaskApi

from paas.api.domains import check_claim
from paas.nouns.errors import BadInput


def test_domains_belong_to_one_app(api: FlaskApi, name: str) -> None:
    assert (
        api.ask("POST", f"/v1/apps/{name}/domains", {"name": "WWW.Example.com"}).json["name"]
        == "www.example.com"
    )
    other = api.ask("POST", "/v1/apps", {}).json["name"]
    assert api.ask("POST", f"/v1/apps/{other}/domains", {"name": "www.example.com"}).status == 409
    assert api.ask("DELETE", f"/v1/apps/{other}/domains/www.example.com").status == 404
    assert [d["name"] for d in api.ask("GET", f"/v1/apps/{name}/domains").json["domains"]] == [
        "www.example.com"
    ]
    assert api.ask("DELETE", f"/v1/apps/{name}/domains/www.example.com").status == 200


@pytest.mark.parametrize("name", ["apps.test", "x.apps.test", "*.apps.test", "*.test"])
def test_the_platforms_own_domain_is_nobodys(name: str) -> None:
    with pytest.raises(BadInput, match="the platform's own domain"):
        check_claim(name, "apps.test")


@pytest.mark.parametrize("name", ["test", "other.test", "myapps.test", "*.other.test"])
def test_a_domain_beside_it_is_free(name: str) -> None:
    check_claim(name, "apps.test")


def test_a_change_is_an_event_and_a_line_of_the_log(api: FlaskApi, name: str) -> None:
    app_id = api.ask("GET", f"/v1/apps/{name}").json["id"]
    host = f"{name}.example"
    added = api.ask("POST", f"/v1/apps/{name}/domains", {"name": host}).json
    assert (added["name"], added["applied"]) == (host, False), "no router runs here"
    assert api.ask("POST", f"/v1/apps/{name}/domains", {"name": host}).status == 409
    assert api.ask("DELETE", f"/v1/apps/{name}/domains/{host}").json["applied"] is False
    found = [event for event in api.ask("GET", "/v1/events").json["events"] if event["app_id"] == app_id]
    assert [event["verb"] for event in found] == ["app.create", "domain.add", "domain.remove"]
    assert {event["actor"] for event in found} == {"root"}
    lines = [line["line"].partition(": ")[2] for line in api.ask("GET", f"/v1/apps/{name}/logs").lines]
    assert lines == ["Create app by root", f"Add domain {host} by root", f"Remove domain {host} by root"]
