"""Routing settings over real sockets: files and owners, and what is never told. Their checks: tests/unit/paas/api."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from typing import Any

import pytest
from harness.api import Api

from paas.store import apps, routing


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    running = Api()
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def name(api: Api) -> str:
    reply = api.ask("POST", "/v1/apps", {})
    assert reply.status == 201, reply.body
    made: str = reply.json["name"]
    return made


def change(api: Api, name: str, body: Any) -> Any:
    reply = api.ask("PATCH", f"/v1/apps/{name}/routing", body)
    assert reply.status == 200, reply.body
    return reply.json["routing"]


def kept(api: Api, name: str) -> dict[str, dict[str, Any]]:
    with api.store.read() as tx:
        app = apps.by_name(tx, name)
        assert app is not None
        return routing.of_app(tx, app.id)


def test_without_a_router_the_answer_says_that_it_is_not_in_force(api: Api, name: str) -> None:
    reply = api.ask("PATCH", f"/v1/apps/{name}/routing", {"set": {"compress": "on"}})
    assert reply.json["applied"] is False


def test_passwords_and_secrets_go_in_and_never_out(api: Api, name: str) -> None:
    change(api, name, {"auth": {"set": {"ann": "first", "bob": "first"}}, "set": {"sticky": "on"}})
    values = kept(api, name)[""]
    assert values["auth"]["ann"] != values["auth"]["bob"]  # salted
    salt, _, digest = values["auth"]["ann"].partition("$")
    assert hashlib.sha256(f"{salt}first".encode()).hexdigest() == digest
    shown = change(
        api, name, {"auth": {"set": {"ann": "second"}, "remove": ["bob"]}, "set": {"sticky": "on"}}
    )
    assert shown["app"]["users"] == ["ann"] and shown["app"]["settings"] == {"sticky": "on"}
    after = kept(api, name)[""]
    assert after["sticky"] == values["sticky"] and len(after["sticky"]) >= 32
    assert after["auth"]["ann"] != values["auth"]["ann"]
    told = api.ask("GET", "/v1/events?limit=1000").body + api.ask("GET", f"/v1/apps/{name}/routing").body
    told += (
        b"".join(path.read_bytes() for path in api.layout.logs.rglob("platform.log")) + api.log.read_bytes()
    )
    for secret in ("first", "second", after["sticky"], digest):
        assert secret.encode() not in told


def test_a_page_is_a_file_that_the_router_may_read(api: Api, name: str) -> None:
    shown = change(api, name, {"pages": {"set": {"H80": "<h1>ε", "503": "<h1>ε"}}})
    assert shown["app"]["pages"] == ["503", "H80"]
    files = kept(api, name)[""]["pages"]
    assert len(set(files.values())) == 1
    page = api.layout.edge / "pages" / files["H80"]
    assert page.read_text() == "<h1>ε" and page.name == hashlib.sha256("<h1>ε".encode()).hexdigest() + ".html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o640 and page.group() == "paas-router"
    assert change(api, name, {"pages": {"remove": ["503", "H80"]}})["app"]["pages"] == []


def test_only_the_hosts_owner_or_an_administrator_adds_paths_below_it(api: Api) -> None:
    admin, ann, eve = api.user("admin"), api.user("ann"), api.user("eve")
    for who, app in ((ann, "ann-app"), (eve, "eve-app")):
        assert api.ask("POST", "/v1/apps", {"name": app}, who=who).status == 201
    assert api.ask("POST", "/v1/apps/ann-app/domains", {"name": "shared.test"}, who=ann).status == 201
    path = {"name": "shared.test/eve"}
    assert api.ask("POST", "/v1/apps/eve-app/domains", path, who=eve).status == 409
    assert api.ask("POST", "/v1/apps/eve-app/domains", path, who=admin).status == 201
    assert api.ask("POST", "/v1/apps/ann-app/domains", path, who=ann).status == 409
    assert api.ask("GET", "/v1/apps/ann-app/routing", who=eve).status == 404
    assert api.ask("PATCH", "/v1/apps/ann-app/routing", {"set": {"queue": "1"}}, who=eve).status == 404


UNWRITABLE = {
    "a certificate": ("edge/certificates", "POST", "certs/generate", {"domain": "{name}.localhost"}),
    "an authority": ("secrets/certificates", "POST", "certs/generate", {"domain": "{name}.localhost"}),
    "a page": ("edge/pages", "PATCH", "routing", {"pages": {"set": {"H10": "<p>unwritable</p>"}}}),
}


@pytest.mark.parametrize("what", UNWRITABLE)
def test_files_that_cannot_be_written_are_told_and_no_bug(api: Api, name: str, what: str) -> None:
    folder, method, address, body = UNWRITABLE[what]
    path, told = api.layout.home / folder, json.loads(json.dumps(body).replace("{name}", name))
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0)
    try:
        reply = api.ask(method, f"/v1/apps/{name}/{address}", told)
    finally:
        path.chmod(before)
    assert reply.status == 503
    assert reply.error["message"] == f"The platform cannot use {path}: Permission denied."
    assert "paas doctor" in reply.error["hint"]
