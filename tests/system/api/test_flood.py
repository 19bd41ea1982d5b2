"""Strangers at the api's doors, many and slow: the platform's own commands go on."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from harness.api import NOBODY, Api, As

from paas.api.gunicorn_worker import MOST_CONNECTIONS
from paas.api.limiter import LOCAL_THREADS

HALF_A_HEAD = b"GET /v1/whoami HTTP/1.1\r\nX-Slow: "


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    running = Api().start()
    try:
        yield running
        assert "Traceback" not in running.log.read_text()
    finally:
        running.close()


@contextlib.contextmanager
def crowd(api: Api, who: As, count: int) -> Iterator[list[socket.socket]]:
    """Connections that each sent half a head; those that were turned away are in the list too."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            sock = stack.enter_context(api.connect(who))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(HALF_A_HEAD)
            found.append(sock)
        yield found


@pytest.mark.parametrize(
    ("who", "count"),
    [(As(uid=NOBODY), LOCAL_THREADS + 12), (As(uid=NOBODY), MOST_CONNECTIONS + 50), (As(uid=None), MOST_CONNECTIONS + 50)],
    ids=["local user takes the threads", "local user takes the connections", "network takes the connections"],
)  # fmt: skip
def test_half_requests_of_strangers_keep_nobody_waiting(api: Api, who: As, count: int) -> None:
    with crowd(api, who, count):
        for asker in (As(), As(uid=api.git_uid)):
            assert api.ask("GET", "/v1/keys/SHA256:none", who=asker).status in (403, 404)


def test_strangers_that_stay_after_their_answer_keep_nobody_waiting(api: Api) -> None:
    """To wait for the end of each, one after the other, would take the loop longer than any client has patience."""
    with contextlib.ExitStack() as stack:
        staying = [stack.enter_context(api.connect(As(uid=None))) for _ in range(60)]
        for sock in staying:
            sock.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for sock in reversed(staying):
            while sock.recv(65536):
                continue
        assert api.ask("GET", "/v1/whoami").status == 200


@pytest.mark.long
def test_a_head_that_drips_is_hung_up_on(api: Api) -> None:
    with crowd(api, As(uid=NOBODY), 1) as [sock]:
        sock.settimeout(1)
        for _ in range(120):
            try:
                assert sock.recv(1) == b""
                return
            except TimeoutError:
                with contextlib.suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # hung up on between the two: read next
                    sock.sendall(b"x")
            except ConnectionResetError:
                return
    raise AssertionError("still reading")


@pytest.mark.long
def test_a_slow_answer_is_no_slow_head(api: Api) -> None:
    ann = api.user("ann")
    api.ask("POST", "/v1/apps", {"name": "hello"}, ann)
    with api.streaming("GET", "/v1/apps/hello/logs?follow=1", who=ann) as stream:
        began = time.monotonic()
        while time.monotonic() - began < 13:
            assert stream.readline()


def test_one_users_followers_leave_room_for_everybody_else(api: Api) -> None:
    who = {name: As(uid=api.git_uid, user=name) for name in ("ann", "bob")}
    for name, asker in who.items():
        api.user(name)
        assert api.ask("POST", "/v1/apps", {"name": f"{name}s"}, asker).status == 201
    with contextlib.ExitStack() as stack:
        held = 0
        with pytest.raises(AssertionError, match="of yours"):
            while held < 100:
                stack.enter_context(api.streaming("GET", "/v1/apps/bobs/logs?follow=1", who=who["bob"]))
                held += 1
        stack.enter_context(api.streaming("GET", "/v1/apps/anns/logs?follow=1", who=who["ann"]))
        stack.enter_context(api.streaming("GET", "/v1/apps/anns/logs?follow=1"))
        assert api.ask("GET", "/v1/apps/bobs", who=who["bob"]).status == 200


def test_two_users_who_hold_all_they_can_leave_a_third_an_answer(api: Api) -> None:
    """Over the network, where everybody shares the fewest threads: followed logs, and bodies that never come."""
    held = {name: api.user(name) for name in ("ann", "bob")}
    carol = api.user("carol")
    for name in held:
        api.ask("POST", "/v1/apps", {"name": f"{name}s"}, held[name])
    api.ask("POST", "/v1/apps", {"name": "carols"}, carol)
    with contextlib.ExitStack() as stack:
        for name, who in held.items():
            with contextlib.suppress(AssertionError):
                for _ in range(40):
                    stack.enter_context(api.streaming("GET", f"/v1/apps/{name}s/logs?follow=1", who=who))
            for _ in range(40):
                sock = stack.enter_context(api.connect(who))
                head = f"PATCH /v1/apps/{name}s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                token = who.headers["Authorization"]
                sock.sendall(f"{head}Authorization: {token}\r\nContent-Length: 9\r\n\r\n".encode())
        for _ in range(5):
            assert api.ask("GET", "/v1/apps/carols", who=carol).status == 200
        stack.enter_context(api.streaming("GET", "/v1/apps/carols/logs?follow=1", who=carol))
