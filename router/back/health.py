"""Active health checks: backends whose route has a rule for it are probed in turn, over connections of their own.

A backend that fails as often in a row as the rule says gets no requests until a probe succeeds; `Pool.refresh` decides
what happens when all of a pool fail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import random
from typing import Final

from router.io.loop import IN, OUT
from router.io.stream import Stream
from router.rules.policy import HealthRule
from router.rules.route import Backend
from router.rules.table import RouteTable
from router.shared import Shared
from router.wire.heads import CRLF, HEAD_END, BadHead
from router.wire.response import parse_status_line

MAX_ANSWER_BYTES: Final = 16 * 1024


class Probe(Stream):
    """One GET; of its answer only the status is read."""

    __slots__ = ("_check", "_got", "began")

    def __init__(self, check: Check, fd: int, request: bytes) -> None:
        super().__init__(check.shared.loop, fd, IN | OUT)
        self.out = bytearray(request)
        self.began = self.loop.now
        self._check = check
        self._got = b""
        self.loop.add(fd, self, self.mask)

    def readable(self) -> None:
        data = self.receive()
        if data is None:
            return
        self._got += data
        try:
            status = self._status()
        except BadHead:
            status = -1
        if status or not data or len(self._got) > MAX_ANSWER_BYTES:
            self.close()
            self._check.probed(200 <= status < 400)

    def _status(self) -> int:
        """The final status, 0 while it has not come. Raises BadHead."""
        while True:
            end = self._got.find(CRLF)
            if end < 0:
                return 0
            code = parse_status_line(self._got[:end]).code
            if code >= 200:
                return code
            end = self._got.find(HEAD_END)
            if end < 0:
                return 0
            self._got = self._got[end + 4 :]

    def drained(self) -> None: ...

    def lost(self) -> None:
        self.close()
        self._check.probed(False)


class Check:
    """The health of one backend. `host` is the Host line of its probes, `log` the name of its app's log."""

    __slots__ = ("_due", "_fails", "_health", "_probe", "backend", "host", "log", "rule", "shared")

    def __init__(
        self, health: HealthChecks, backend: Backend, rule: HealthRule, host: bytes, log: str
    ) -> None:
        self._health = health
        self.shared = shared = health.shared
        self.backend = backend
        self.rule = rule
        self.host = host if b"*" not in host else backend.address.encode()
        self.log = log
        self._due = shared.loop.now + rule.interval_s * random()
        self._fails = 0
        self._probe: Probe | None = None

    def tick(self, now: float) -> None:
        """Probe when it is time to; give up a probe that takes too long."""
        if self._probe is not None:
            if now - self._probe.began > self.rule.timeout_s:
                self._probe.lost()
        elif now >= self._due:
            self._due = now + self.rule.interval_s
            try:
                fd = self._health.dial(self.backend)
            except OSError:
                self.probed(False)
                return
            lines = b"User-Agent: paas-router-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            request = b"GET %b HTTP/1.1\r\nHost: %b\r\n%b" % (self.rule.path.encode(), self.host, lines)
            self._probe = Probe(self, fd, request)

    def probed(self, succeeded: bool) -> None:
        """A probe has ended, successfully or not."""
        self._probe = None
        self._fails = 0 if succeeded else self._fails + 1
        if not succeeded:
            self.shared.metrics.health_failures += 1
        sick = self._fails >= self.rule.fails
        if sick != self.backend.sick:
            self.backend.sick = sick
            self._health.refresh(self.backend)
            word = "unhealthy" if sick else "healthy"
            print(f"router event={word} backend={self.backend.id}", file=sys.stderr, flush=True)
            text = b'at=error desc="Health check failed"' if sick else b'at=info desc="Health check passed"'
            path, wall = self.rule.path.encode(), self.shared.loop.wall
            self.shared.access.note(self.log, wall, b'%b path="%b" dyno=%b' % (text, path, self.backend.dyno))

    def end(self) -> None:
        """The backend is no longer checked."""
        if self._probe is not None:
            self._probe.close()
            self._probe = None
        if self.backend.sick:
            self.backend.sick = False
            self._health.refresh(self.backend)


class HealthChecks:
    """The checks of a worker, by backend id."""

    def __init__(
        self, shared: Shared, dial: Callable[[Backend], int], refresh: Callable[[Backend], None]
    ) -> None:
        self.shared = shared
        self.dial = dial
        self.refresh = refresh
        self.checks: dict[str, Check] = {}

    def rule(self, table: RouteTable) -> None:
        """Follow a new table. A backend that was checked before keeps its state."""
        before, self.checks = self.checks, {}
        for host, route, pool in table.checked.values():
            rule = route.policy.health if route.policy is not None else None
            for backend in pool.backends:
                if rule is None or backend.draining or backend.id in self.checks:
                    continue
                check = before.get(backend.id)
                if check is None or check.backend is not backend:
                    check = Check(self, backend, rule, host, route.log)
                check.rule = rule
                self.checks[backend.id] = check
        for id, check in before.items():
            if self.checks.get(id) is not check:
                check.end()
        if self.checks and not before:
            self.shared.on_tick.append(self.tick)
        elif before and not self.checks:
            self.shared.on_tick.remove(self.tick)

    def tick(self, now: float) -> None:
        for check in self.checks.values():
            check.tick(now)
