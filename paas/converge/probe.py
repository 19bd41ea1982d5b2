"""Health probes that never block: non-blocking attempts on the reactor."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

from paas.converge.health import Answer, Check, judge, request_bytes
from runtime.reactor import WRITE, Reactor, Timer

SOON_S, SOON_ATTEMPTS = 0.01, 60
"""How soon after a refusal a booting instance is asked again, and how many times."""

_IN_PROGRESS = (errno.EINPROGRESS, errno.EAGAIN)


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended: `answer` when there was one, else `refused`, `closed` (accepted, then hung up) or
    `timeout`."""

    kind: str
    answer: Answer | None = None

    @property
    def healthy(self) -> bool:
        return self.answer is not None and self.answer.healthy


class Attempt:
    """One connection to an instance; `done` hears its outcome exactly once, unless it is aborted."""

    def __init__(
        self, reactor: Reactor, address: str, check: Check, host: str, done: Callable[[Outcome], None]
    ) -> None:
        self._reactor, self._check, self._done = reactor, check, done
        self._request = request_bytes(check, host)
        self._received = b""
        self._sock: socket.socket | None = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._timer = reactor.later(check.timeout_s, lambda: self._finish(Outcome("timeout")))
        code = self._sock.connect_ex((address, check.port))
        if code not in (0, *_IN_PROGRESS):
            self._timer.cancel()
            self._timer = reactor.later(0, lambda: self._finish(Outcome("refused")))
            return
        reactor.watch(self._sock.fileno(), lambda _: self._connected(), WRITE)

    def abort(self) -> None:
        """Drop the connection; `done` hears nothing."""
        self._done = lambda outcome: None
        self._finish(Outcome("closed"))

    def _connected(self) -> None:
        assert self._sock is not None
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self._finish(Outcome("refused"))
        if self._check.kind == "listening":
            return self._finish(Outcome("answer", Answer(True)))
        try:
            self._sock.send(self._request)
        except OSError:
            return self._finish(Outcome("closed"))
        self._reactor.watch(self._sock.fileno(), lambda _: self._readable())

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(16384)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._finish(Outcome("closed"))
        self._received += data
        answer = judge(self._check, self._received)
        if answer is not None:
            self._finish(Outcome("answer", answer))

    def _finish(self, outcome: Outcome) -> None:
        if self._sock is None:
            return
        self._timer.cancel()
        self._reactor.forget(self._sock.fileno())
        self._sock.close()
        self._sock = None
        self._done(outcome)


class _Probe:
    """Repeated attempts, `interval_s` of the check apart, until an outcome is final or the probe is stopped."""

    def __init__(self, reactor: Reactor, address: str, check: Check, host: str, *, delay_s: float) -> None:
        self._reactor, self._address, self._check, self._host = reactor, address, check, host
        self._attempt: Attempt | None = None
        self._timer: Timer | None = None
        self._stopped = False
        if delay_s:
            self._timer = reactor.later(delay_s, self._ask)
        else:
            self._ask()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is not None:
            self._attempt.abort()

    def _ask(self) -> None:
        self._attempt = Attempt(self._reactor, self._address, self._check, self._host, self._heard)

    def _heard(self, outcome: Outcome) -> None:
        self._attempt = None
        if self._stopped:
            return
        if self._is_last(outcome):
            self._stopped = True
            self._report(outcome)
        else:
            self._timer = self._reactor.later(self._pause_s(outcome), self._ask)

    def _pause_s(self, outcome: Outcome) -> float:
        return self._check.interval_s

    def _is_last(self, outcome: Outcome) -> bool:
        raise NotImplementedError

    def _report(self, outcome: Outcome) -> None:
        raise NotImplementedError


class BootProbe(_Probe):
    """Asks every 50 ms until the instance is healthy; `ready` then hears the answer, once. A hopeless answer is the last.
    At first it asks more often while nothing listens: that costs the app nothing, and most are up within half a second.

    `last` and `closed` (connections accepted and hung up without an answer) are evidence for the diagnosis.
    """

    def __init__(
        self, reactor: Reactor, address: str, check: Check, host: str, ready: Callable[[Answer], None]
    ) -> None:
        self._ready = ready
        self.last: Outcome | None = None
        self.closed = 0
        self._soon = SOON_ATTEMPTS
        super().__init__(reactor, address, check, host, delay_s=0)

    def _is_last(self, outcome: Outcome) -> bool:
        self.last = outcome
        self.closed += outcome.kind == "closed"
        self._soon -= 1
        return outcome.healthy or (outcome.answer is not None and outcome.answer.hopeless)

    def _pause_s(self, outcome: Outcome) -> float:
        return SOON_S if outcome.kind == "refused" and self._soon > 0 else super()._pause_s(outcome)

    def _report(self, outcome: Outcome) -> None:
        assert outcome.answer is not None
        if outcome.healthy:
            self._ready(outcome.answer)


class LivenessProbe(_Probe):
    """Asks an instance that is up every `interval_s`; `failed` hears the last outcome after `attempts`
    failures in a row, once."""

    def __init__(
        self, reactor: Reactor, address: str, check: Check, host: str, failed: Callable[[Outcome], None]
    ) -> None:
        self._failed = failed
        self._failures = 0
        super().__init__(reactor, address, check, host, delay_s=check.interval_s)

    def _is_last(self, outcome: Outcome) -> bool:
        self._failures = 0 if outcome.healthy else self._failures + 1
        return self._failures >= max(1, self._check.attempts)

    def _report(self, outcome: Outcome) -> None:
        self._failed(outcome)
