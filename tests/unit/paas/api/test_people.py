"""Users, keys and tokens through the api: who is made, for whom, and who may see and remove what."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.flask_api import FlaskApi


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FlaskApi]:
    """A platform without a user."""
    made = FlaskApi(tmp_path)
    yield made
    made.close()


def key(letter: str) -> str:
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", letter.encode() * 32))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def test_the_first_key_makes_the_administrator_and_others_members(api: FlaskApi) -> None:
    first = api.ask("POST", "/v1/keys", {"public_key": key("a")}).json
    second = api.ask("POST", "/v1/keys", {"public_key": key("b"), "user": "bob"}).json
    third = api.ask("POST", "/v1/keys", {"public_key": key("c")}).json
    made = [(one["user"], one["role"]) for one in (first, second, third)]
    assert made == [("admin", "admin"), ("bob", "member"), ("admin", "admin")]
    assert api.ask("POST", "/v1/keys", {"public_key": key("a"), "user": "bob"}).status == 409
    events = [(event["verb"], event["actor"]) for event in api.ask("GET", "/v1/events").json["events"]]
    assert events == [("user.add", "root"), ("key.add", "root")] * 2 + [("key.add", "root")]


def test_members_manage_their_own_keys_and_tokens_only(api: FlaskApi) -> None:
    admin = api.ask("POST", "/v1/keys", {"public_key": key("a")}).json
    assert api.ask("POST", "/v1/users", {"name": "eve"}).json == {"name": "eve", "role": "member"}
    token = api.ask("POST", "/v1/tokens", {"name": "laptop", "user": "eve"}).json["token"]
    other = api.ask("POST", "/v1/tokens", {"name": "laptop"}).json
    assert api.ask("GET", "/v1/whoami", token=token).json == {"user": "eve", "admin": False, "via": "token"}
    assert api.ask("POST", "/v1/keys", {"public_key": key("b"), "user": "admin"}, token=token).status == 403
    assert api.ask("POST", "/v1/keys", {"public_key": key("b")}, token=token).json["user"] == "eve"
    assert [one["user"] for one in api.ask("GET", "/v1/keys", token=token).json["keys"]] == ["eve"]
    assert [one["user"] for one in api.ask("GET", "/v1/tokens", token=token).json["tokens"]] == ["eve"]
    assert api.ask("DELETE", f"/v1/keys/{admin['fingerprint']}", token=token).status == 404
    assert api.ask("DELETE", f"/v1/tokens/{other['id']}", token=token).status == 404
    assert api.ask("GET", "/v1/users", token=token).status == 403
    assert api.ask("DELETE", "/v1/tokens/laptop", token=token).status == 200
    assert api.ask("GET", "/v1/whoami", token=token).status == 401


def test_a_name_that_two_users_gave_their_tokens_needs_the_id(api: FlaskApi) -> None:
    for user in ("ann", "bob"):
        api.ask("POST", "/v1/users", {"name": user})
        made = api.ask("POST", "/v1/tokens", {"name": "ci", "user": user}).json
    assert api.ask("POST", "/v1/tokens", {"name": "ci", "user": "bob"}).status == 409
    reply = api.ask("DELETE", "/v1/tokens/ci")
    assert (reply.status, reply.error["message"]) == (409, "2 tokens are meant.")
    assert api.ask("DELETE", f"/v1/tokens/{made['id']}").json == {"id": made["id"], "name": "ci"}


@pytest.mark.parametrize("value", ["paas_short", "paas_" + "x" * 43, "Basic abc"])
def test_what_is_no_token_is_refused(api: FlaskApi, value: str) -> None:
    reply = api.ask("GET", "/v1/whoami", token=value)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
