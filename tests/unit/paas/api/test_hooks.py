"""Hooks: made, listed and removed by the app's people, used by whoever knows the secret."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from harness.deliveries import FORGES, github
from harness.flask_api import FlaskApi
from harness.platform import wait_for
from harness.rows import app_of

from paas.api import hooks as routes
from paas.api.hook_builds import EXTENSION, HookBuilds
from paas.store import hooks, people

URL = "https://bot:s3cret@127.0.0.1:1/ann/app.git"


@pytest.fixture
def begun(api: FlaskApi, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The branches whose builds have begun; each ends at once."""
    found: list[str] = []
    monkeypatch.setattr(HookBuilds, "_build", lambda self, app, hook: found.append(hook.branch))
    return found


def made(api: FlaskApi, name: str, **body: str) -> dict[str, Any]:
    answer = api.ask("POST", f"/v1/apps/{name}/hooks", {"url": URL, **body})
    assert answer.status == 201, answer.body
    hook: dict[str, Any] = answer.json
    return hook


def deliver(api: FlaskApi, id: str, delivery: tuple[dict[str, str], bytes]) -> Any:
    headers, body = delivery
    environ = {"gunicorn.socket": None}
    return api.asked(api.application, "POST", f"/hooks/{id}", environ=environ, data=body, headers=headers)


def test_the_secret_is_told_once_and_the_login_never(api: FlaskApi, name: str) -> None:
    hook = made(api, name, branch="release/2")
    assert hook["url"] == "https://127.0.0.1:1/ann/app.git" and hook["branch"] == "release/2"
    assert hook["address"].endswith(f"/hooks/{hook['id']}") and len(hook["secret"]) >= 32
    listed = api.ask("GET", f"/v1/apps/{name}/hooks")
    assert [item["id"] for item in listed.json["hooks"]] == [hook["id"]]
    told = listed.body + api.ask("GET", "/v1/events").body
    assert hook["secret"].encode() not in told and b"s3cret" not in told
    assert api.ask("DELETE", f"/v1/apps/{name}/hooks/{hook['id']}").status == 200
    assert api.ask("DELETE", f"/v1/apps/{name}/hooks/{hook['id']}").status == 404
    assert deliver(api, hook["id"], github(hook["secret"])).status == 404


def test_what_is_no_repository_makes_no_hook(api: FlaskApi, name: str) -> None:
    for body in ({"url": "file:///srv/x"}, {"url": URL + "#main"}, {"url": URL, "branch": "-x"}, {}):
        assert api.ask("POST", f"/v1/apps/{name}/hooks", body).status == 422


@pytest.mark.parametrize("forge", FORGES)
def test_a_signed_push_is_answered_at_once_and_built(
    api: FlaskApi, name: str, begun: list[str], forge: str
) -> None:
    hook = made(api, name)
    answer = deliver(api, hook["id"], FORGES[forge](hook["secret"]))
    assert (answer.status, "will be built" in answer.json["message"]) == (202, True)
    wait_for(lambda: begun == ["main"])
    (listed,) = api.ask("GET", f"/v1/apps/{name}/hooks").json["hooks"]
    assert listed["heard_at"] and listed["said"].startswith("main is at ")


def test_what_is_not_signed_is_neither_parsed_nor_noted(api: FlaskApi, name: str, begun: list[str]) -> None:
    hook = made(api, name)
    headers, body = github("wrong")
    for delivery in (
        (headers, body),
        ({}, body),
        (headers, b"[" * 100_000),
        ({"X-Gitlab-Token": "no"}, b"\xff"),
    ):
        assert deliver(api, hook["id"], delivery).status == 401
    assert deliver(api, "none", github("x")).status == 404
    (listed,) = api.ask("GET", f"/v1/apps/{name}/hooks").json["hooks"]
    assert (listed["heard_at"], begun) == (None, [])


def test_what_is_of_no_interest_is_answered_politely(api: FlaskApi, name: str, begun: list[str]) -> None:
    hook = made(api, name)
    secret = hook["secret"]
    for delivery, said in (
        (github(secret, event="ping"), "pong"),
        (github(secret, ref="refs/heads/feature"), "feature was pushed, and this hook deploys main"),
        (github(secret, after="0" * 40), "main was deleted"),
        (github(secret, event="issues"), "only pushes of branches"),
    ):
        answer = deliver(api, hook["id"], delivery)
        assert (answer.status, said in answer.json["message"]) == (200, True), answer.body
    assert begun == []


def test_a_flood_and_a_large_body_are_refused(
    api: FlaskApi, name: str, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = made(api, name)
    monkeypatch.setattr(routes, "_BODY_BYTES", 5_000)
    assert deliver(api, hook["id"], github(hook["secret"], more="x" * 5_000)).status == 413
    pings = [deliver(api, hook["id"], github(hook["secret"], event="ping")).status for _ in range(31)]
    assert pings == [200] * 30 + [429]
    assert deliver(api, made(api, name)["id"], github("x")).status == 401  # other hooks are as they were


@pytest.mark.parametrize("terminated", [False, True])  # True: as gunicorn says, which tells of no early end
def test_a_body_that_does_not_end_is_given_up(
    api: FlaskApi, name: str, monkeypatch: pytest.MonkeyPatch, terminated: bool
) -> None:
    hook = made(api, name)
    monkeypatch.setattr(routes, "_BODY_S", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rb") as stream:
        ours.sendall(b"{")
        ended = threading.Event()
        threading.Thread(target=lambda: ended.wait(20) or ours.close(), daemon=True).start()
        environ = {"gunicorn.socket": theirs, "wsgi.input": stream, "CONTENT_LENGTH": "1000"}
        environ["wsgi.input_terminated"] = terminated
        answer = api.asked(api.application, "POST", f"/hooks/{hook['id']}", environ=environ)
        ended.set()
    assert (answer.status, "within 0.1 s" in answer.json["error"]["message"]) == (422, True), answer.body


def test_an_unknown_hook_and_a_large_body_are_refused_unread(api: FlaskApi, name: str) -> None:
    hook = made(api, name)
    for id, status in (("none", 404), (hook["id"], 413)):
        environ = {"gunicorn.socket": None, "wsgi.input": None, "CONTENT_LENGTH": str(5 << 20)}
        assert api.asked(api.application, "POST", f"/hooks/{id}", environ=environ).status == status


def test_who_waits_keeps_its_place_and_its_maker_is_told(api: FlaskApi, name: str) -> None:
    first, second = made(api, name), made(api, name)
    with api.store.write() as tx:
        for id, wanted in (
            (first["id"], True),
            (second["id"], True),
            (first["id"], True),
            (first["id"], False),
        ):
            hooks.heard(tx, id, "pong", wanted=wanted)
        assert [hook.id for hook in hooks.wanted(tx)] == [first["id"], second["id"]]
        hooks.begun(tx, first["id"])
        hooks.heard(tx, first["id"], "more", wanted=True)
        assert [hook.id for hook in hooks.wanted(tx)] == [second["id"], first["id"]]
        for id in (first["id"], second["id"]):
            hooks.begun(tx, id)
    listed = api.ask("GET", f"/v1/apps/{name}/hooks").json["hooks"]
    assert [item["created_by"] for item in listed] == ["root", "root"]


@pytest.mark.parametrize("loss", ["token", "app"])
def test_a_hook_has_the_rights_of_its_maker_and_no_longer(
    api: FlaskApi, name: str, begun: list[str], loss: str
) -> None:
    app = app_of(api, name)
    with api.store.write() as tx:
        ann = people.add_user(tx, maker := f"ann-{loss}", "member")
        tx.execute("UPDATE app SET owner_id = ? WHERE id = ?", (ann.id, app.id))
    token = api.ask("POST", "/v1/tokens", {"name": "laptop", "user": maker}).json
    body = {"url": URL}
    hook = api.ask("POST", f"/v1/apps/{name}/hooks", body, token=token["token"]).json
    assert deliver(api, hook["id"], github(hook["secret"])).status == 202
    wait_for(lambda: begun == ["main"])
    if loss == "token":
        assert api.ask("DELETE", f"/v1/tokens/{token['id']}").status == 200
        why = f"refused: {maker}, who made it, has no key and no token any more"
    else:
        with api.store.write() as tx:
            bob = people.add_user(tx, "bob", "member")
            tx.execute("UPDATE app SET owner_id = ? WHERE id = ?", (bob.id, app.id))
        why = f"refused: {maker}, who made it, may not touch {name} any more"
    answer = deliver(api, hook["id"], github(hook["secret"]))
    assert (answer.status, why[1:] in answer.json["error"]["message"]) == (403, True)
    assert api.ask("GET", f"/v1/apps/{name}/hooks").json["hooks"][0]["said"] == why
    with api.store.write() as tx:
        hooks.heard(tx, hook["id"], "", wanted=True)  # of a delivery that came before
    api.application.extensions[EXTENSION].go()
    with api.store.read() as tx:
        assert hooks.wanted(tx) == []
    assert begun == ["main"]


def test_one_build_of_an_owner_at_a_time_and_the_last_push_counts(
    api: FlaskApi, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(api, name, branch="one"), made(api, name, branch="two")
    end, begun = threading.Event(), list[str]()

    def build(self: HookBuilds, app: Any, hook: Any) -> None:
        begun.append(hook.branch)
        end.wait(10)

    monkeypatch.setattr(HookBuilds, "_build", build)
    for hook, branch in ((first, "one"), (second, "two"), (second, "two"), (first, "one"), (first, "one")):
        assert deliver(api, hook["id"], github(hook["secret"], ref=f"refs/heads/{branch}")).status == 202
    wait_for(lambda: begun)
    assert begun == ["one"]
    with api.store.read() as tx:
        assert {hook.branch for hook in hooks.wanted(tx)} == {"one", "two"}
    end.set()
    wait_for(lambda: len(begun) == 3)
    assert sorted(begun) == ["one", "one", "two"]
    with api.store.read() as tx:
        assert hooks.wanted(tx) == []


def test_what_was_wanted_before_a_restart_begins_after_it(api: FlaskApi, name: str, begun: list[str]) -> None:
    hook = made(api, name)
    with api.store.write() as tx:
        hooks.heard(tx, hook["id"], "", wanted=True)
    api.application.extensions[EXTENSION].go()
    wait_for(lambda: begun == ["main"])


def test_a_repository_that_cannot_be_reached_is_a_failed_build(api: FlaskApi, name: str) -> None:
    api.layout.sources.mkdir(exist_ok=True)
    hook = made(api, name)
    assert deliver(api, hook["id"], github(hook["secret"])).status == 202
    path = f"/v1/apps/{name}/builds"
    wait_for(lambda: api.ask("GET", path).json["builds"])
    (build,) = api.ask("GET", path).json["builds"]
    assert (build["status"], build["cause"]) == ("failed", "not reachable")
    assert build["origin"] == "https://127.0.0.1:1/ann/app.git#main" and build["actor"].startswith("hook:")
    assert b"private network" in api.ask("GET", f"{path}/{build['number']}/output").body
    wait_for(lambda: "failed: " in api.ask("GET", f"/v1/apps/{name}/hooks").json["hooks"][0]["said"])
