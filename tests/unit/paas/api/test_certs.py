"""Certificates through the api: for which domains they may be, what is answered, and that no key comes out."""

from __future__ import annotations

import pytest
from harness.flask_api import FlaskApi

from paas.api.certs import _reachability
from paas.nouns.values import Address


def test_one_for_development_is_made_listed_and_removed(api: FlaskApi, name: str) -> None:
    host, before = f"{name}.localhost", set(api.layout.edge.glob("certificates/*"))
    reply = api.ask("POST", f"/v1/apps/{name}/certs/generate", {"domain": host})
    made = reply.json
    assert reply.status == 201 and made["names"] == [host] and made["source"] == "generated"
    (listed,) = api.ask("GET", f"/v1/apps/{name}/certs").json["certificates"]
    assert (listed["fingerprint"], listed["hosts"]) == (made["fingerprint"], [host])
    (file,) = set(api.layout.edge.glob("certificates/*")) - before
    assert "PRIVATE KEY" in file.read_text() and b"PRIVATE KEY" not in reply.body
    assert "BEGIN CERTIFICATE" in api.ask("GET", "/v1/certs/ca").json["certificate"]
    assert api.ask("DELETE", f"/v1/apps/{name}/certs/{host}").status == 200
    assert api.ask("DELETE", f"/v1/apps/{name}/certs/{host}").status == 404
    verbs = [event["verb"] for event in api.ask("GET", "/v1/events").json["events"]]
    assert verbs[-2:] == ["certificate.add", "certificate.remove"]


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ("other.localhost", "has no domain other.localhost"),
        ("www.example.com/shop", "is a part of a host"),
        ("nothing", "is not a domain"),
    ],
)
def test_a_domain_must_be_the_apps(api: FlaskApi, name: str, domain: str, message: str) -> None:
    reply = api.ask("POST", f"/v1/apps/{name}/certs/generate", {"domain": domain})
    assert reply.status == 422 and message in reply.error["message"]


def test_the_platforms_is_for_the_apps_own_addresses(api: FlaskApi) -> None:
    body = {"domain": "*.example.com", "certificate": "x", "key": "x"}
    error = api.ask("POST", "/v1/certs", body).error
    assert error["hint"] == "It must be for *.localhost."


def test_a_key_that_is_refused_is_not_repeated(api: FlaskApi, name: str) -> None:
    body = {"domain": f"{name}.localhost", "certificate": "x", "key": "-----BEGIN secret" + "x" * 100_000}
    reply = api.ask("POST", f"/v1/apps/{name}/certs", body)
    assert reply.status == 422 and b"secret" not in reply.body


def test_automatic_ones_are_for_public_names(api: FlaskApi, name: str) -> None:
    auto = f"/v1/apps/{name}/certs/auto"
    assert "no domain that could have" in api.ask("PATCH", auto, {"on": True}).error["message"]
    for domain, why in (
        (f"{name}.localhost", "not one of the public DNS"),
        (f"*.{name}.example.com", "wildcards"),
    ):
        api.ask("POST", f"/v1/apps/{name}/domains", {"name": domain})
        reply = api.ask("PATCH", auto, {"on": True, "domains": [domain]})
        assert reply.status == 422 and why in reply.error["message"]
    api.ask("POST", f"/v1/apps/{name}/domains", {"name": f"{name}.example.com"})
    assert api.ask("PATCH", auto, {"on": True}).json["domains"] == [f"{name}.example.com"]
    made = api.ask("POST", f"/v1/apps/{name}/certs/generate", {"domain": f"{name}.example.com"}).json
    assert made["warnings"][-1] == f"{name}.example.com had automatic certificates; they are off now."
    assert api.ask("PATCH", auto, {"on": False}).status == 422


@pytest.mark.parametrize(
    ("host", "port", "warned"), [("0.0.0.0", 80, False), ("127.0.0.1", 80, True), ("0.0.0.0", 8080, True)]
)
def test_an_authority_must_reach_port_80(host: str, port: int, warned: bool) -> None:
    assert bool(_reachability(Address(host, port))) == warned
