"""Bad input to the api: one clear sentence and the right status, never a traceback, nothing half-made."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.api import Api, As

from paas.store import apps


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    running = Api().start()
    try:
        running.user("ann")
        assert running.ask("POST", "/v1/apps", {"name": "hello"}).status == 201
        yield running
        assert "Traceback" not in running.log.read_text()
    finally:
        running.close()


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
def test_bodies(api: Api, method: str, path: str, body: bytes) -> None:
    reply = api.ask(method, path, body)
    assert reply.status == 422, reply.body
    assert reply.error["message"].endswith(".")


def test_a_body_of_ten_megabytes_is_refused(api: Api) -> None:
    reply = api.ask("POST", "/v1/apps", b'{"name": "' + b"x" * 10_000_000 + b'"}')
    assert (reply.status, reply.error["code"]) == (413, "too_large")


def test_another_content_type_is_refused(api: Api) -> None:
    reply = api.ask("POST", "/v1/apps", b'{"name": "form"}', headers={"Content-Type": "text/plain"})
    assert reply.status == 422


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
def test_values(api: Api, method: str, path: str, body: Any) -> None:
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
def test_statuses(api: Api, method: str, path: str, body: Any, status: int) -> None:
    reply = api.ask(method, path, body)
    assert reply.status == status, reply.body
    assert reply.error["message"].endswith(".")


def test_every_answer_tells_browsers_to_keep_away(api: Api) -> None:
    for path in ("/v1/whoami", "/v1/nothing", "/v1/apps/hello"):
        headers = api.ask("GET", path).headers
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_what_is_not_http_does_not_disturb_others(api: Api) -> None:
    for junk in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 10, b"A" * 20_000):
        with api.connect(As(uid=None)) as sock:
            sock.sendall(junk)
            sock.settimeout(20)
            with contextlib.suppress(ConnectionError):  # hung up on before all of it was read
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
    assert api.ask("GET", "/v1/whoami").json["user"] == "root"


def test_silent_visitors_from_the_network_do_not_keep_the_server_waiting(api: Api) -> None:
    slow = [api.connect(As(uid=None)) for _ in range(60)]
    try:
        for sock in slow:
            sock.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: ")
        for _ in range(10):
            assert api.ask("GET", "/v1/whoami").status == 200
    finally:
        for sock in slow:
            sock.close()


def test_a_bug_is_shown_as_an_id_and_logged_with_its_traceback(tmp_path: Path) -> None:
    running = Api().start()
    try:
        running.ask("POST", "/v1/apps", {"name": "hello"})
        with running.store.write() as tx:
            tx.execute("DROP TABLE domain")
        reply = running.ask("GET", "/v1/apps/hello/domains")
        assert (reply.status, reply.error["code"]) == (500, "internal")
        assert "domain" not in reply.error["message"]
        number = reply.error["message"].split()[2].rstrip(".")
        log = running.log.read_text()
        assert f"id={number}" in log
        assert "Traceback" in log
    finally:
        running.close()


def test_a_failed_creation_leaves_no_app(api: Api) -> None:
    with api.store.read() as tx:
        before = apps.all(tx)
    for name in ("", "-x", "x" * 31, "HELLO", "a b", "ünicode"):
        assert api.ask("POST", "/v1/apps", {"name": name}).status == 422
    with api.store.read() as tx:
        assert apps.all(tx) == before


def test_an_app_is_not_half_made_when_the_spawner_fails(api: Api) -> None:
    api.spawner.refuse = {"code": "unavailable", "message": "no", "hint": ""}
    try:
        assert api.ask("POST", "/v1/apps", {"name": "later"}).status == 503
    finally:
        api.spawner.refuse = None
    assert api.ask("POST", "/v1/apps", {"name": "later"}).status == 201
