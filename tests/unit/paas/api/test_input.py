"""Bad input to the api: one clear sentence and the right status, nothing half-made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.flask_api import FlaskApi

from paas.store import apps


@pytest.fixture(scope="module", autouse=True)
def hello(api: FlaskApi) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAtRkzcHC0AiTRTtP6P5xvVHGUxDl6NQYKGVUdcoHxIC"
    assert api.ask("POST", "/v1/keys", {"public_key": key}).status == 201
    assert api.ask("POST", "/v1/apps", {"name": "hello"}).status == 201


NESTED: Any = "x"
for _ in range(50):
    NESTED = [NESTED]

BODIES: list[tuple[str, bytes]] = [
    ("not JSON", b"{"),
    ("an array", b"[]"),
    ("a number", b"3"),
    ("not UTF-8", b'{"name": "\xff"}'),
    ("a lone surrogate", b'{"name": "\\ud800"}'),
    ("a NUL", b'{"name": "a\\u0000b"}'),
    ("a doubled key", b'{"name": "a", "name": "b"}'),
    ("NaN", b'{"name": NaN}'),
    ("an infinite number", b'{"name": 1e999}'),
    ("a huge number", b'{"name": ' + b"9" * 5000 + b"}"),
    ("a large number", b'{"name": 99999999999999999999}'),
    ("deep nesting", b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("some nesting", json.dumps({"name": NESTED}).encode()),
    ("an unknown key", b'{"name": "x", "owner": "root"}'),
    ("a list for a name", b'{"name": ["x"]}'),
    ("a flag for a name", b'{"name": true}'),
]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/apps"), ("PATCH", "/v1/apps/hello"), ("PATCH", "/v1/apps/hello/limits")],
)
@pytest.mark.parametrize("body", [body for _, body in BODIES], ids=[name for name, _ in BODIES])
def test_bodies(api: FlaskApi, method: str, path: str, body: bytes) -> None:
    reply = api.ask(method, path, body)
    assert reply.status == 422, reply.body
    assert reply.error["message"].endswith(".")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/apps", {"name": "Hello"}),
        ("POST", "/v1/apps", {"name": "../../etc"}),
        ("PATCH", "/v1/apps/hello", {"deploy_branch": "--upload-pack=x"}),
        ("PATCH", "/v1/apps/hello/config", {}),
        ("PATCH", "/v1/apps/hello/config", {"set": {"1A": "x"}}),
        ("PATCH", "/v1/apps/hello/config", {"set": {"PORT": "80"}}),
        ("PATCH", "/v1/apps/hello/config", {"set": {"A": 5}}),
        ("PATCH", "/v1/apps/hello/config", {"set": {"A": "a\0b"}}),
        ("PATCH", "/v1/apps/hello/config", {"set": {"A": "x" * 100_000}}),
        ("PATCH", "/v1/apps/hello/config", {"unset": ["NOT_THERE"]}),
        ("PATCH", "/v1/apps/hello/config", {"unset": "A"}),
        ("PATCH", "/v1/apps/hello/formation", {"changes": {}}),
        ("PATCH", "/v1/apps/hello/formation", {"changes": {"web": 3}}),
        ("PATCH", "/v1/apps/hello/formation", {"changes": {"web": {"quantity": -1}}}),
        ("PATCH", "/v1/apps/hello/formation", {"changes": {"web": {"quantity": 1.5}}}),
        ("PATCH", "/v1/apps/hello/formation", {"changes": {"web": {"quantity": 1, "delta": 1}}}),
        ("PATCH", "/v1/apps/hello/formation", {"changes": {"release": {"quantity": 1}}}),
        ("PATCH", "/v1/apps/hello/limits", {"web": {"disk": 1}}),
        ("PATCH", "/v1/apps/hello/limits", {"web": {"memory_bytes": 1}}),
        ("PATCH", "/v1/apps/hello/limits", {"web": {"memory_bytes": 2**60}}),
        ("PATCH", "/v1/apps/hello/limits", {"web": 3}),
        ("POST", "/v1/apps/hello/restart", {"name": "web"}),
        ("POST", "/v1/apps/hello/restart", {"type": "web", "name": "worker.1"}),
        ("POST", "/v1/apps/hello/rollback", {"to": "vv"}),
        ("GET", "/v1/apps/hello/releases/x", None),
        ("GET", "/v1/apps/hello/releases?limit=0", None),
        ("GET", "/v1/apps/hello/releases?limit=1&limit=2", None),
        ("GET", "/v1/apps/hello/releases?nope=1", None),
        ("GET", "/v1/apps/hello/logs?lines=-1", None),
        ("GET", "/v1/apps/hello/logs?lines=99999999999999999999", None),
        ("GET", "/v1/apps/hello/logs?since=yesterday", None),
        ("GET", "/v1/apps/hello/logs?since=9999999d", None),
        ("GET", "/v1/apps/hello/logs?source=../x", None),
        ("GET", "/v1/apps/hello/logs?dyno=web", None),
        ("GET", "/v1/apps/hello/logs?type=../../x", None),
        ("GET", "/v1/apps/hello/logs?request=x", None),
        ("POST", "/v1/apps/hello/runs", {"command": []}),
        ("POST", "/v1/apps/hello/runs", {"command": [" "]}),
        ("POST", "/v1/apps/hello/runs", {"command": "ls"}),
        ("POST", "/v1/apps/hello/runs", {"command": ["x" * 150_000]}),
        ("POST", "/v1/apps/hello/runs", {"command": ["a\0"]}),
        ("POST", "/v1/apps/hello/runs", {"command": ["ls"], "env": {"A B": "x"}}),
        ("POST", "/v1/apps/hello/runs", {"command": ["ls"], "terminal": {"rows": 0, "columns": 1, "term": "x"}}),
        ("POST", "/v1/apps/hello/runs", {"command": ["ls"], "terminal": {"rows": 1, "columns": 1, "term": "a b"}}),
        ("POST", "/v1/apps/hello/domains", {"name": "localhost"}),
        ("POST", "/v1/apps/hello/domains", {"name": "other.localhost"}),
        ("POST", "/v1/apps/hello/domains", {"name": "*.localhost"}),
        ("POST", "/v1/apps/hello/domains", {"name": "a b"}),
        ("POST", "/v1/apps/hello/domains", {}),
        ("DELETE", "/v1/apps/hello", {}),
        ("DELETE", "/v1/apps/hello", {"confirm": "other"}),
        ("POST", "/v1/keys", {"public_key": "ssh-ed25519 AAAA"}),
        ("POST", "/v1/keys", {"public_key": "x", "user": "root"}),
        ("POST", "/v1/tokens", {"name": "\n"}),
        ("POST", "/v1/users", {"name": "git"}),
        ("POST", "/v1/users", {"name": "joe", "role": "owner"}),
        ("POST", "/v1/stacks", {"name": "../x"}),
        ("GET", "/v1/events?after=-1", None),
    ],
    ids=str,
)  # fmt: skip
def test_values(api: FlaskApi, method: str, path: str, body: Any) -> None:
    reply = api.ask(method, path, body)
    assert reply.status == 422, reply.body
    assert reply.error["message"].endswith(".")
    assert "\\n" not in reply.error["message"] or "'" in reply.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/nothing", None, 404),
        ("GET", "/", None, 404),
        ("GET", "/v1//apps", None, 404),
        ("GET", "/v1/apps/", None, 404),
        ("GET", "/v1/apps//config", None, 404),
        ("DELETE", "/v1/keys/SHA256:a//b", None, 404),
        ("GET", "/v1/apps/nope", None, 404),
        ("GET", "/v1/apps/Hello", None, 404),
        ("GET", "/v1/apps/%2e%2e%2fx", None, 404),
        ("PUT", "/v1/apps", {}, 405),
        ("POST", "/v1/apps", {"name": "hello"}, 409),
        ("GET", "/v1/apps/hello/releases/v9", None, 404),
        ("GET", "/v1/apps/hello/releases/999999999999", None, 422),
        ("GET", "/v1/apps/hello/config?release=v9", None, 404),
        ("GET", "/v1/apps/hello/builds/1", None, 404),
        ("GET", "/v1/apps/hello/builds/99999999999999999999/output", None, 404),
        ("GET", "/v1/apps/hello/runs/i1/attach", None, 404),
        ("GET", "/v1/apps/hello/runs/i99999999999999999999/attach", None, 404),
        ("POST", "/v1/apps/hello/rollback", {}, 422),
        ("POST", "/v1/apps/hello/rollback", {"to": "v3"}, 404),
        ("PATCH", "/v1/apps/hello/formation", {"changes": {"web": {"quantity": 2}}}, 409),
        ("POST", "/v1/apps/hello/runs", {"command": ["ls"]}, 409),
        ("POST", "/v1/apps/hello/restart", {}, 409),
        ("DELETE", "/v1/apps/hello/domains/x.example.com", None, 404),
        ("DELETE", "/v1/keys/SHA256:none", None, 404),
        ("DELETE", "/v1/tokens/none", None, 404),
    ],
    ids=str,
)  # fmt: skip
def test_statuses(api: FlaskApi, method: str, path: str, body: Any, status: int) -> None:
    reply = api.ask(method, path, body)
    assert reply.status == status, reply.body
    assert reply.error["message"].endswith(".")


def test_a_failed_creation_leaves_no_app(api: FlaskApi) -> None:
    with api.store.read() as tx:
        before = apps.all(tx)
    for name in ("", "-x", "x" * 31, "HELLO", "a b", "ünicode"):
        assert api.ask("POST", "/v1/apps", {"name": name}).status == 422
    with api.store.read() as tx:
        assert apps.all(tx) == before


def test_an_app_is_not_half_made_when_the_spawner_fails(api: FlaskApi) -> None:
    api.spawner.refuse = "no"
    try:
        assert api.ask("POST", "/v1/apps", {"name": "later"}).status == 503
    finally:
        api.spawner.refuse = ""
    assert api.ask("POST", "/v1/apps", {"name": "later"}).status == 201
