"""The members of gunicorn that the api overrides or calls have the shape that it relies on."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

from paas.api.gunicorn_worker import Worker, _Application

OVERRIDDEN = [
    name
    for name, member in vars(Worker).items()
    if inspect.isfunction(member) and hasattr(ThreadWorker, name)
]


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_these_members_are_overridden() -> None:
    expected = [
        "_keepalive_after",
        "enqueue_req",
        "get_thread_pool",
        "handle",
        "handle_request",
        "init_process",
        "notify",
    ]
    assert sorted(OVERRIDDEN) == expected


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_member_takes_the_same_arguments(name: str) -> None:
    assert parameters(getattr(ThreadWorker, name)) == parameters(getattr(Worker, name))


@pytest.mark.parametrize(
    ("caller", "call"),
    [
        ("accept", "self.enqueue_req(conn)"),
        ("on_client_socket_readable", "self.enqueue_req(conn)"),
        ("on_pending_socket_readable", "self.enqueue_req(conn)"),
        ("enqueue_req", "self.method_queue.defer(self.finish_request, conn, "),
        ("init_process", "self.tpool = self.get_thread_pool()"),
        ("handle", "self._keepalive_after(conn, self.handle_request(req, conn))"),
        ("run", "self.notify()"),
    ],
)
def test_gunicorn_calls_what_is_overridden(caller: str, call: str) -> None:
    assert call in inspect.getsource(getattr(ThreadWorker, caller))


def test_what_is_called_of_it_is_there() -> None:
    assert parameters(PollableMethodQueue.defer) == ["self", "callback", "args"]
    assert parameters(ThreadWorker.finish_request) == ["self", "conn", "fs"]
    assert "deadline" in parameters(RequestParser.finish_body)


def test_a_worker_and_a_connection_have_the_attributes_that_are_used() -> None:
    settings = _Application(Flask("test")).cfg
    worker = Worker(1, 0, [], None, 0, settings, settings.logger_class(settings))
    assert worker.nr_conns == 0 and worker.tpool is None and worker.method_queue is not None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conn = TConn(settings, ours, "", "")
        conn.init()
        assert conn.sock is ours and isinstance(conn.parser, RequestParser)
        conn.close()
