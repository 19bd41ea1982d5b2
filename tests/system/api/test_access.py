"""Who may do what: every route of the api, asked by everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from harness.api import NOBODY, Api, As
from harness.proofs import proof_of, public_key

from paas.api.app import create_app
from paas.api.context import Context
from paas.keys.proof import HEADER
from paas.store import apps, people

Row = tuple[str, str, Any, str]

# method, address, body, who may: `app` (owner, administrator), `user`, `admin`, `git` (the daemon), `git-user`, `git-app`
MATRIX: list[Row] = [
    ("GET", "/v1/whoami", None, "user"),
    ("GET", "/v1/server", None, "user"),
    ("GET", "/v1/apps", None, "user"),
    ("POST", "/v1/apps", {"name": "BAD"}, "user"),
    ("GET", "/v1/apps/<app_name>", None, "app"),
    ("PATCH", "/v1/apps/<app_name>", {"name": "BAD"}, "app"),
    ("DELETE", "/v1/apps/<app_name>", {"confirm": "wrong"}, "app"),
    ("GET", "/v1/apps/<app_name>/config", None, "app"),
    ("PATCH", "/v1/apps/<app_name>/config", {}, "app"),
    ("GET", "/v1/apps/<app_name>/formation", None, "app"),
    ("PATCH", "/v1/apps/<app_name>/formation", {"changes": {"web": {"quantity": 1}}}, "app"),
    ("GET", "/v1/apps/<app_name>/limits", None, "app"),
    ("PATCH", "/v1/apps/<app_name>/limits", {"web": {"pids": 1}}, "app"),
    ("GET", "/v1/apps/<app_name>/instances", None, "app"),
    ("POST", "/v1/apps/<app_name>/restart", {}, "app"),
    ("POST", "/v1/apps/<app_name>/stop", {}, "app"),
    ("GET", "/v1/apps/<app_name>/releases", None, "app"),
    ("GET", "/v1/apps/<app_name>/releases/<number>", None, "app"),
    ("POST", "/v1/apps/<app_name>/rollback", {}, "app"),
    ("GET", "/v1/apps/<app_name>/canary", None, "app"),
    ("POST", "/v1/apps/<app_name>/canary", {"share": 101}, "app"),
    ("POST", "/v1/apps/<app_name>/canary/promote", {}, "app"),
    ("DELETE", "/v1/apps/<app_name>/canary", None, "app"),
    ("GET", "/v1/apps/<app_name>/builds", None, "app"),
    ("GET", "/v1/apps/<app_name>/builds/<int:number>", None, "app"),
    ("GET", "/v1/apps/<app_name>/builds/<int:number>/output", None, "app"),
    ("POST", "/v1/apps/<app_name>/builds", {"deploy": 1}, "app"),
    ("POST", "/v1/apps/<app_name>/builds/<int:number>/cancel", None, "app"),
    ("GET", "/v1/apps/<app_name>/builds/settings", None, "app"),
    ("PATCH", "/v1/apps/<app_name>/builds/settings", {"root": "/.."}, "app"),
    ("POST", "/v1/apps/<app_name>/image/push", {}, "app"),
    ("POST", "/v1/apps/<app_name>/deploy/archive", None, "app"),
    ("POST", "/v1/apps/<app_name>/deploy/git", {"url": "bad"}, "app"),
    ("POST", "/v1/apps/<app_name>/image/pull", {}, "app"),
    ("GET", "/v1/apps/<app_name>/hooks", None, "app"),
    ("POST", "/v1/apps/<app_name>/hooks", {"url": "bad"}, "app"),
    ("DELETE", "/v1/apps/<app_name>/hooks/<hook_id>", None, "app"),
    ("POST", "/hooks/<hook_id>", {}, "hook"),
    ("GET", "/v1/apps/<app_name>/image/history", None, "app"),
    ("GET", "/v1/apps/<app_name>/image/export", None, "app"),
    ("GET", "/v1/apps/<app_name>/image/sbom", None, "app"),
    ("POST", "/v1/apps/<app_name>/image/archive", None, "app"),
    ("POST", "/v1/apps/<app_name>/pushes", {}, "git-app"),
    ("POST", "/v1/apps/<app_name>/runs", {"command": ["ls"]}, "app"),
    ("GET", "/v1/apps/<app_name>/runs/<runtime_id>/attach", None, "app"),
    ("GET", "/v1/apps/<app_name>/logs", None, "app"),
    ("GET", "/v1/apps/<app_name>/domains", None, "app"),
    ("POST", "/v1/apps/<app_name>/domains", {"name": "BAD"}, "app"),
    ("DELETE", "/v1/apps/<app_name>/domains/<path:name>", None, "app"),
    ("GET", "/v1/apps/<app_name>/routing", None, "app"),
    ("PATCH", "/v1/apps/<app_name>/routing", {}, "app"),
    ("GET", "/v1/apps/<app_name>/certs", None, "app"),
    ("POST", "/v1/apps/<app_name>/certs", {}, "app"),
    ("POST", "/v1/apps/<app_name>/certs/generate", {"domain": "BAD"}, "app"),
    ("PATCH", "/v1/apps/<app_name>/certs/auto", {}, "app"),
    ("DELETE", "/v1/apps/<app_name>/certs/<name>", None, "app"),
    ("GET", "/v1/certs", None, "admin"),
    ("POST", "/v1/certs", {}, "admin"),
    ("DELETE", "/v1/certs/<name>", None, "admin"),
    ("GET", "/v1/certs/ca", None, "user"),
    ("GET", "/v1/keys", None, "user"),
    ("POST", "/v1/keys", {"public_key": "x"}, "user"),
    ("GET", "/v1/keys/<path:fingerprint>", None, "git"),
    ("DELETE", "/v1/keys/<path:fingerprint>", None, "user"),
    ("GET", "/v1/tokens", None, "user"),
    ("POST", "/v1/tokens", {}, "user"),
    ("DELETE", "/v1/tokens/<reference>", None, "user"),
    ("GET", "/v1/users", None, "admin"),
    ("POST", "/v1/users", {"name": "bad name"}, "admin"),
    ("GET", "/v1/stacks", None, "user"),
    ("GET", "/v1/stacks/apps", None, "user"),
    ("POST", "/v1/stacks/<name>/update", {}, "admin"),
    ("GET", "/v1/router/stats", None, "user"),
    ("GET", "/v1/router/metrics", None, "admin"),
    ("POST", "/v1/stacks", {"name": "BAD"}, "admin"),
    ("GET", "/v1/events", None, "user"),
    ("GET", "/v1/git", None, "git"),
    ("GET", "/v1/git/<app_name>", None, "git-app"),
    ("POST", "/v1/git/<app_name>", {}, "git-user"),
]

ALLOWED = {
    "nobody": set(),
    "stranger": set(),
    "git": {"git"},
    "git for nobody": set(),
    "git for owner": {"user", "app", "git", "git-user", "git-app"},
    "git for other": {"user", "git", "git-user"},
    "other": {"user"},
    "owner": {"user", "app"},
    "admin": {"user", "app", "admin"},
    "root": {"user", "app", "admin"},
}
for groups in ALLOWED.values():
    groups.add("hook")  # the secret counts, whoever knows it
HIDDEN = {("other", "app"), ("git for other", "app"), ("git for other", "git-app")}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    running = Api().start()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def everybody(api: Api) -> dict[str, As]:
    admin, owner, other = (api.user(name) for name in ("ann", "bob", "eve"))
    with api.store.write() as tx:
        bob = people.user_named(tx, "bob")
        assert bob is not None
        apps.create(tx, "hello", bob.id)
    return {
        "nobody": As(uid=None),
        "stranger": As(uid=NOBODY),
        "git": As(uid=api.git_uid),
        "git for nobody": As(uid=api.git_uid, user="mallory"),
        "git for owner": As(uid=api.git_uid, user="bob"),
        "git for other": As(uid=api.git_uid, user="eve"),
        "other": other,
        "owner": owner,
        "admin": admin,
        "root": As(),
    }


def address(rule: str) -> str:
    values = {"app_name": "hello", "number": "1", "runtime_id": "i999999", "name": "x.example.com"}
    values |= {"fingerprint": "SHA256:abc/def+x", "reference": "none", "hook_id": "none"}
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: values[match[1]], rule)


def test_the_matrix_names_every_route(api: Api) -> None:
    flask = create_app(Context(api.settings, api.store, None))
    routes = {
        (method, rule.rule)
        for rule in flask.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert routes == {(method, rule) for method, rule, _, _ in MATRIX}


@pytest.mark.parametrize("who", ALLOWED)
@pytest.mark.parametrize("row", MATRIX, ids=lambda row: f"{row[0]} {row[1]}")
def test_access(api: Api, everybody: dict[str, As], row: Row, who: str) -> None:
    method, rule, body, group = row
    reply = api.ask(method, address(rule), body, everybody[who])
    invisible = reply.status == 404 and reply.error["message"].startswith("There is no app ")
    if group in ALLOWED[who]:
        assert reply.status not in (401, 403, 500) and not invisible, reply.body
    elif (who, group) in HIDDEN:
        assert invisible, reply.body
    else:
        assert reply.status in (401, 403), reply.body


def test_an_app_of_somebody_else_looks_like_one_that_does_not_exist(
    api: Api, everybody: dict[str, As]
) -> None:
    there, nowhere = (
        api.ask("GET", f"/v1/apps/{name}", who=everybody["other"]) for name in ("hello", "nothing")
    )
    assert (there.status, there.body.replace(b"hello", b"nothing")) == (nowhere.status, nowhere.body)


def test_lists_show_only_ones_own(api: Api, everybody: dict[str, As]) -> None:
    seen = {
        who: [app["name"] for app in api.ask("GET", "/v1/apps", who=everybody[who]).json["apps"]]
        for who in ("other", "owner", "admin", "root", "git for other")
    }
    assert seen == {
        "other": [],
        "owner": ["hello"],
        "admin": ["hello"],
        "root": ["hello"],
        "git for other": [],
    }
    assert api.ask("GET", "/v1/events", who=everybody["other"]).json["events"] == []
    assert len(api.ask("GET", "/v1/tokens", who=everybody["other"]).json["tokens"]) == 1


def test_a_login_counts_only_from_the_git_server(api: Api, everybody: dict[str, As]) -> None:
    headers = As(user="ann").headers
    for who in (As(uid=NOBODY), As(uid=None), everybody["other"]):
        reply = api.ask("GET", "/v1/users", who=who, headers=headers)
        assert reply.status in (401, 403)


def test_the_git_server_speaks_for_nobody_who_has_not_signed(api: Api, everybody: dict[str, As]) -> None:
    """Its uid alone is not enough: neither the name, nor the key's fingerprint, nor a signature of another key."""
    ann, eve = proof_of("ann"), proof_of("eve")
    forged = (
        replace(ann, signature=eve.signature),
        replace(eve, fingerprint=ann.fingerprint),
        replace(ann, session=eve.session),
        replace(ann, signature=b""),
    )
    git = As(uid=api.git_uid)
    for words in (*(proof.encode() for proof in forged), "ann", "", "ann " * 5):
        assert api.ask("GET", "/v1/whoami", who=git, headers={HEADER: words}).status == 401
    assert api.ask("GET", "/v1/whoami", who=git, headers={"X-Paas-User": "ann"}).status == 401
    assert api.ask("GET", "/v1/whoami", who=git, headers={HEADER: eve.encode()}).json["user"] == "eve"
    again = replace(eve, connection="another")
    assert api.ask("GET", "/v1/whoami", who=git, headers={HEADER: again.encode()}).status == 401


def test_a_removed_key_ends_what_it_has_opened(api: Api, everybody: dict[str, As]) -> None:
    key = {"public_key": public_key("second key"), "user": "eve"}
    fingerprint = api.ask("POST", "/v1/keys", key).json["fingerprint"]
    login = As(uid=api.git_uid, user="second key")
    headers = login.headers
    assert api.ask("GET", "/v1/whoami", who=login, headers=headers).json["user"] == "eve"
    assert api.ask("DELETE", f"/v1/keys/{fingerprint}").status == 200
    assert api.ask("GET", "/v1/whoami", who=login, headers=headers).status == 401


def test_a_revoked_token_is_refused_at_once(api: Api, everybody: dict[str, As]) -> None:
    made = api.ask("POST", "/v1/tokens", {"name": "laptop"}, everybody["other"])
    laptop = As(token=made.json["token"])
    assert api.ask("GET", "/v1/whoami", who=laptop).json == {"user": "eve", "admin": False, "via": "token"}
    assert api.ask("DELETE", "/v1/tokens/laptop", who=everybody["owner"]).status == 404
    assert api.ask("DELETE", "/v1/tokens/laptop", who=laptop).status == 200
    assert api.ask("GET", "/v1/whoami", who=laptop).status == 401


def test_no_token_is_kept_or_logged(api: Api) -> None:
    token = api.ask("POST", "/v1/tokens", {"name": "secret"}).json["token"]
    assert re.fullmatch(r"paas_[A-Za-z0-9_-]{43}", token)
    api.ask("GET", "/v1/whoami", who=As(token=token))
    api.ask("GET", f"/v1/apps/{token}", who=As(token=token))
    for path in (*api.layout.database.parent.iterdir(), api.log):
        assert token.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer x", "Basic cm9vdDo=", "Bearer paas_" + "a" * 43, "Bearer \xff"]
)
def test_what_is_no_token_is_401(api: Api, value: str) -> None:
    reply = api.ask(
        "GET",
        "/v1/whoami",
        who=As(uid=None),
        headers={"Authorization": value.encode("latin-1").decode("latin-1")},
    )
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert reply.error["hint"]
    assert reply.error["message"] == ("This token is not valid." if value else "A token is needed.")
