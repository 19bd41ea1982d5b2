"""Bad input to the api daemon: what needs its sockets. Bodies and values: tests/unit/paas/api/test_input.py."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from harness.api import Api, As


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


def test_a_body_of_ten_megabytes_is_refused(api: Api) -> None:
    reply = api.ask("POST", "/v1/apps", b'{"name": "' + b"x" * 10_000_000 + b'"}')
    assert (reply.status, reply.error["code"]) == (413, "too_large")


def test_another_content_type_is_refused(api: Api) -> None:
    reply = api.ask("POST", "/v1/apps", b'{"name": "form"}', headers={"Content-Type": "text/plain"})
    assert reply.status == 422


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
