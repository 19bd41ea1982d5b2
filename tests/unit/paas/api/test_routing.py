"""Routing settings through the api: what is kept and shown, what is refused, what counts as a change."""

from __future__ import annotations

from typing import Any

import pytest
from harness.flask_api import FlaskApi

from paas.store import apps, events, routing


def change(api: FlaskApi, name: str, body: Any) -> Any:
    reply = api.ask("PATCH", f"/v1/apps/{name}/routing", body)
    assert reply.status == 200, reply.body
    return reply.json["routing"]


def kept(api: FlaskApi, name: str) -> dict[str, dict[str, Any]]:
    with api.store.read() as tx:
        app = apps.by_name(tx, name)
        assert app is not None
        return routing.of_app(tx, app.id)


def changes(api: FlaskApi) -> list[Any]:
    with api.store.read() as tx:
        return [event.detail for event in events.after(tx, 0) if event.verb == "routing.change"]


def test_settings_are_kept_shown_and_taken_back(api: FlaskApi, name: str) -> None:
    empty = {"settings": {}, "users": [], "pages": []}
    assert api.ask("GET", f"/v1/apps/{name}/routing").json == {"routing": {"app": empty, "domains": {}}}
    body = {"set": {"body-limit": "10M", "compress": "on", "idle-timeout": "5m"}}
    shown = {"body-limit": "10M", "idle-timeout": "5m", "compress": "on"}
    assert change(api, name, body)["app"]["settings"] == shown
    assert api.ask("GET", f"/v1/apps/{name}/routing").json["routing"]["app"]["settings"] == shown
    assert change(api, name, {"unset": ["compress", "queue"]})["app"]["settings"] == {
        "body-limit": "10M",
        "idle-timeout": "5m",
    }
    assert kept(api, name) == {"": {"body-limit": 10 << 20, "idle-timeout": 300}}


def test_what_domains_multiply_has_a_bound(api: FlaskApi, name: str) -> None:
    """Every worker reads the whole table, and takes none at all when it is too large."""
    many = [f"10.{n // 250}.{n % 250}.0/24" for n in range(500)]
    change(api, name, {"allow": {"add": many}})
    for number in range(100):
        reply = api.ask("POST", f"/v1/apps/{name}/domains", {"name": f"d{number}.{name}.example"})
        if reply.status != 201:
            break
    assert reply.status == 422 and b"domains would take" in reply.body
    assert 5 < number < 50
    change(api, name, {"allow": {"remove": many[5:]}})
    assert api.ask("POST", f"/v1/apps/{name}/domains", {"name": f"d{number}.{name}.example"}).status == 201
    reply = api.ask("PATCH", f"/v1/apps/{name}/routing", {"allow": {"add": many}})
    assert reply.status == 422 and len(kept(api, name)[""]["allow"]) == 5


def test_a_repeated_change_is_no_event(api: FlaskApi, name: str) -> None:
    change(api, name, {"set": {"maintenance": "on", "queue": "5"}})
    before = changes(api)
    change(api, name, {"set": {"maintenance": "on", "queue": "5"}, "unset": ["compress"]})
    assert changes(api) == before
    assert before[-1] == {"domain": "", "changes": ["Set maintenance=on", "Set queue=5"]}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "Nothing is named"),
        ({"domain": "www.a.test"}, "Nothing is named"),
        ({"set": {"body-limit": "lots"}}, "body-limit: 'lots' is not a size"),
        ({"set": {"body-limit": 5}}, "body-limit: 5 is not text"),
        ({"set": {"nonsense": "1"}}, "'nonsense' is not a setting"),
        ({"unset": ["nonsense"]}, "'nonsense' is not a setting"),
        ({"set": {"queue": "1"}, "unset": ["queue"]}, "both set and unset"),
        ({"set": {"canonical-host": "www.else.test"}}, "does not lead to"),
        ({"set": ["queue"]}, "not an object"),
        ({"auth": {"set": {"a:b": "x"}}}, "not a user name"),
        ({"auth": {"set": {"ann": ""}}}, "password"),
        ({"auth": {"set": {"ann": "a\nb"}}}, "password"),
        ({"auth": {"set": {"ann": "x" * 300}}}, "password"),
        ({"auth": {"users": {"ann": "x"}}}, "not an object with the keys"),
        ({"allow": {"add": ["10.0.0.0/33"]}}, "not an address or a network"),
        ({"allow": {"add": [7]}}, "not text"),
        ({"pages": {"set": {"200": "x"}}}, "no code that the router answers with"),
        ({"pages": {"set": {"503": ""}}}, "has 0 bytes"),
        ({"pages": {"set": {"503": "ε" * 40_000}}}, "bytes"),
        ({"pages": {"set": {"503": "x" * 70_000}}}, "not text of at most"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    api: FlaskApi, name: str, body: Any, word: str
) -> None:
    reply = api.ask("PATCH", f"/v1/apps/{name}/routing", body)
    assert reply.status == 422 and word in reply.error["message"]
    assert kept(api, name) == {}


@pytest.mark.parametrize(
    "body",
    [
        {"auth": {"remove": ["ann"]}},
        {"allow": {"remove": ["10.0.0.0/8"]}},
        {"pages": {"remove": ["503"]}},
        {"domain": "www.a.test", "set": {"queue": "1"}},
    ],
)
def test_what_is_not_there_cannot_be_changed(api: FlaskApi, name: str, body: Any) -> None:
    reply = api.ask("PATCH", f"/v1/apps/{name}/routing", body)
    assert reply.status == 404 and (
        "There is no" in reply.error["message"] or "no domain" in reply.error["message"]
    )


def test_networks_are_added_and_removed(api: FlaskApi, name: str) -> None:
    change(api, name, {"allow": {"add": ["10.0.0.1/8", "192.0.2.1"]}})
    change(api, name, {"allow": {"add": ["10.0.0.0/8", "2001:DB8::/32"], "remove": ["192.0.2.1/32"]}})
    assert kept(api, name) == {"": {"allow": ["10.0.0.0/8", "2001:db8::/32"]}}
    change(api, name, {"allow": {"remove": ["10.0.0.0/8", "2001:db8::/32"]}})
    assert kept(api, name).get("", {}) == {}


def test_a_domain_has_settings_of_its_own_until_it_goes(api: FlaskApi, name: str) -> None:
    api.ask("POST", f"/v1/apps/{name}/domains", {"name": f"{name}.test/api"})
    body = {"domain": f"{name}.test/api", "set": {"body-limit": "none"}}
    assert change(api, name, body)["domains"][f"{name}.test/api"]["settings"] == {"body-limit": "none"}
    whole = api.ask("PATCH", f"/v1/apps/{name}/routing", {**body, "set": {"queue": "1"}})
    assert whole.status == 422 and "queue is for the whole app" in whole.error["message"]
    assert api.ask("DELETE", f"/v1/apps/{name}/domains/{name}.test%2Fapi").status == 200
    assert kept(api, name) == {}
