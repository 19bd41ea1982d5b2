"""Probes against real sockets that behave in every way a booting app may."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from harness.nouns import make_image

from paas.converge import probe as probe_module
from paas.converge.health import Answer, Check, boot_check, judge
from paas.converge.probe import Attempt, BootProbe, LivenessProbe, Outcome
from runtime.reactor import Reactor

Serve = Callable[[bytes, socket.socket], None]


class Server:
    """Hands each connection, with the request it sent, to `behave`."""

    def __init__(self, behave: Serve) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._behave = behave
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                request = peer.recv(65536)
                self.requests.append(request)
                try:
                    self._behave(request, peer)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(
            socket.SHUT_RDWR
        )  # the thread must not go on accepting at a number used again
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Serve], Server]]:
    made: list[Server] = []

    def start(behave: Serve) -> Server:
        made.append(Server(behave))
        return made[-1]

    yield start
    for server in made:
        server.close()


def attempt(port: int, check: Check) -> Outcome:
    reactor, outcomes = Reactor(), list[Outcome]()
    Attempt(reactor, "127.0.0.1", replace(check, port=port), "hello.localhost", outcomes.append)
    deadline = time.monotonic() + 30
    while not outcomes:
        assert time.monotonic() < deadline
        reactor.turn(0.05)
    reactor.close()
    return outcomes[0]


def says(*pieces: bytes, pause_s: float = 0.0) -> Serve:
    def behave(request: bytes, peer: socket.socket) -> None:
        for piece in pieces:
            peer.sendall(piece)
            time.sleep(pause_s)

    return behave


LOOSE, STRICT = Check("http"), Check("http", path="/health", strict=True)


@pytest.mark.parametrize(
    ("pieces", "check", "outcome"),
    [
        ((b"HTTP/1.1 200 OK\r\n\r\n",), LOOSE, Outcome("answer", Answer(True, 200))),
        ((b"HTTP/1.0 404 Not Found\r\n\r\n",), LOOSE, Outcome("answer", Answer(True, 404))),
        (
            (b"HTTP/1.1 500 Oh\r\n\r\n",),
            LOOSE,
            Outcome("answer", Answer(True, 500, "GET / answered 500")),
        ),
        ((b"HTTP/1.1 302 Found\r\n\r\n",), STRICT, Outcome("answer", Answer(True, 302))),
        (
            (b"HTTP/1.1 404 No\r\n\r\n",),
            STRICT,
            Outcome("answer", Answer(False, 404, "GET /health answered 404")),
        ),
        ((b"HT", b"TP/1.1 20", b"0 OK\r\nA: b\r\n", b"\r\n"), LOOSE, Outcome("answer", Answer(True, 200))),
        (
            (b"HTTP/1.1 103 Early\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n"),
            LOOSE,
            Outcome("answer", Answer(True, 204)),
        ),
        ((b"HTTP/1.1 200 OK\r\nA: b\r\n",), LOOSE, Outcome("closed")),
        ((), LOOSE, Outcome("closed")),
        (
            (b"220 mail ESMTP\r\n",),
            LOOSE,
            Outcome("answer", Answer(False, None, "answered something that is not HTTP")),
        ),
    ],
)
def test_an_answer_is_judged(
    serve: Callable[[Serve], Server], pieces: tuple[bytes, ...], check: Check, outcome: Outcome
) -> None:
    server = serve(says(*pieces, pause_s=0.01))
    assert attempt(server.port, check) == outcome


def test_the_request_names_the_apps_own_host_and_scheme(serve: Callable[[Serve], Server]) -> None:
    server = serve(says(b"HTTP/1.1 200 OK\r\n\r\n"))
    attempt(server.port, STRICT)
    assert server.requests[0].startswith(b"GET /health HTTP/1.1\r\nHost: hello.localhost\r\n")
    assert b"\r\nX-Forwarded-Proto: http\r\n" in server.requests[0]


def test_nobody_there_and_nobody_answering_are_different(serve: Callable[[Serve], Server]) -> None:
    with socket.socket() as silent:  # bound, so that nobody else listens there meanwhile
        silent.bind(("127.0.0.1", 0))
        assert attempt(silent.getsockname()[1], LOOSE) == Outcome("refused")
    over = threading.Event()
    server = serve(lambda request, peer: bool(over.wait(30)))
    assert attempt(server.port, replace(LOOSE, timeout_s=0.1)) == Outcome("timeout")
    over.set()


def test_listening_is_enough_when_that_is_the_check(serve: Callable[[Serve], Server]) -> None:
    server = serve(says())
    assert attempt(server.port, Check("listening")) == Outcome("answer", Answer(True))


def test_a_boot_is_asked_again_until_it_is_healthy(serve: Callable[[Serve], Server]) -> None:
    answers = iter([b"", b"HTTP/1.1 503 Wait\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
    server = serve(lambda request, peer: peer.sendall(next(answers)))
    reactor, ready = Reactor(), list[Answer]()
    check = replace(STRICT, port=server.port, interval_s=0.01)
    probe = BootProbe(reactor, "127.0.0.1", check, "hello.localhost", ready.append)
    deadline = time.monotonic() + 30
    while not ready and time.monotonic() < deadline:
        reactor.turn(0.05)
    assert (ready, probe.closed, len(server.requests)) == ([Answer(True, 200)], 1, 3)
    reactor.turn(0.05)
    assert len(server.requests) == 3
    reactor.close()


def test_boot_probe_soon_notices_that_something_listens() -> None:
    """It does not wait for the interval of the check, which matters once something answers."""
    reactor, ready = Reactor(), list[Answer]()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        check = Check("listening", port=listener.getsockname()[1], interval_s=1000)
        probe = BootProbe(reactor, "127.0.0.1", check, "h", ready.append)
        deadline = time.monotonic() + 30
        while probe.last is None and time.monotonic() < deadline:
            reactor.turn(0.05)
        assert probe.last == Outcome("refused")
        listener.listen()
        while not ready and time.monotonic() < deadline:
            reactor.turn(0.05)
    assert ready == [Answer(True)]
    reactor.close()


def test_boot_probe_that_is_refused_for_long_asks_at_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "SOON_ATTEMPTS", 3)
    reactor = Reactor()
    check = Check("listening", port=1, interval_s=1000)
    probe = BootProbe(reactor, "127.0.0.1", check, "h", lambda answer: None)
    pauses = [probe._pause_s(Outcome("refused")) for _ in range(4) if not probe._is_last(Outcome("refused"))]
    assert pauses == [probe_module.SOON_S] * 2 + [1000] * 2
    assert probe._pause_s(Outcome("closed")) == 1000
    probe.stop()
    reactor.close()


def test_liveness_fails_only_after_several_failures_in_a_row(serve: Callable[[Serve], Server]) -> None:
    good, bad = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 500 No\r\n\r\n"
    answers = iter([bad, bad, good, bad, bad, bad, good])
    server = serve(lambda request, peer: peer.sendall(next(answers)))
    reactor, failed = Reactor(), list[Outcome]()
    check = replace(STRICT, port=server.port, interval_s=0.01, attempts=3)
    LivenessProbe(reactor, "127.0.0.1", check, "hello.localhost", failed.append)
    deadline = time.monotonic() + 30
    while not failed and time.monotonic() < deadline:
        reactor.turn(0.05)
    assert [outcome.answer for outcome in failed] == [Answer(False, 500, "GET /health answered 500")]
    assert len(server.requests) == 6
    reactor.close()


def test_a_stopped_probe_says_nothing_more(serve: Callable[[Serve], Server]) -> None:
    server = serve(says(b"HTTP/1.1 200 OK\r\n\r\n"))
    reactor, ready = Reactor(), list[Answer]()
    probe = BootProbe(reactor, "127.0.0.1", replace(LOOSE, port=server.port), "h", ready.append)
    probe.stop()
    for _ in range(5):
        reactor.turn(0.02)
    assert ready == []
    reactor.close()


PUSHED_SITE = boot_check(make_image(processes={"web": ".paas/serve =404 public"}), "web", pushed=True)
PUSHED_APP = boot_check(make_image(processes={"web": "gunicorn app:app"}), "web", pushed=True)
RUNNING_APP = boot_check(make_image(processes={"web": "gunicorn app:app"}), "web")


@pytest.mark.parametrize(
    ("check", "status", "healthy", "hopeless"),
    [
        (PUSHED_SITE, 403, False, True),
        (PUSHED_SITE, 404, False, True),
        (PUSHED_SITE, 500, False, True),
        (PUSHED_SITE, 200, True, False),
        (PUSHED_APP, 403, True, False),
        (PUSHED_APP, 404, True, False),
        (PUSHED_APP, 500, True, False),
        (PUSHED_APP, 502, False, False),
        (PUSHED_APP, 503, False, False),
        (PUSHED_APP, 504, False, False),
        (RUNNING_APP, 503, True, False),
    ],
)
def test_what_the_first_answer_must_be_for_a_push(
    check: Check, status: int, healthy: bool, hopeless: bool
) -> None:
    answer = judge(check, b"HTTP/1.1 %d X\r\n\r\n" % status)
    assert answer is not None
    assert (answer.healthy, answer.hopeless) == (healthy, hopeless)
    assert bool(answer.note) == (status >= 500 or not healthy)


def test_a_redirect_to_https_is_noted_and_healthy() -> None:
    answer = judge(PUSHED_APP, b"HTTP/1.1 301 Moved\r\nX: y\r\nLocation: https://x.example/\r\n\r\n")
    assert answer == Answer(True, 301, "GET / leads to https", to_https=True)
    assert judge(PUSHED_APP, b"HTTP/1.1 301 Moved\r\nLocation: /login\r\n\r\n") == Answer(True, 301, "")


def test_a_hopeless_answer_is_the_last_that_is_asked_for(serve: Callable[[Serve], Server]) -> None:
    server = serve(says(b"HTTP/1.1 403 Forbidden\r\n\r\n"))
    reactor, ready = Reactor(), list[Answer]()
    check = replace(PUSHED_SITE, port=server.port, interval_s=0.01)
    probe = BootProbe(reactor, "127.0.0.1", check, "hello.localhost", ready.append)
    for _ in range(5):
        reactor.turn(0.05)
    assert (ready, len(server.requests)) == ([], 1)
    assert probe.last is not None and probe.last.answer == Answer(False, 403, "GET / answered 403", True)
    reactor.close()
