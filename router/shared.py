"""The state that all connections of a worker share: the loop, the table, the backends, caches, counters, the access
log.

It is only held here: `back.upstreams` connects to backends and puts tables in force, `upkeep` runs the timers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from time import monotonic
from typing import Any, Final

from router.io.later import Later
from router.io.loop import Loop
from router.io.pipes import Pipes
from router.io.stream import Stream
from router.report.access import AccessLog
from router.report.metrics import Metrics
from router.rules.gate import Gate
from router.rules.pages import Pages
from router.rules.route import Backend
from router.rules.table import RouteTable
from router.wire import request, response

_LOW: Final = [b"%03x" % number for number in range(4096)]


@dataclass
class Limits:
    """Times in seconds, sizes in bytes."""

    connect_s: float = 5.0
    first_byte_s: float = 30.0
    rolling_s: float = 55.0
    head_s: float = 10.0
    keep_alive_s: float = 60.0
    pool_idle_s: float = 4.0
    """Less than the keep-alive time of common servers (5 s), so that the router closes first."""
    fresh_s: float = 1.0
    """A request that must not be sent twice gets no pooled connection that has been idle for longer."""
    eject_s: float = 5.0
    linger_s: float = 2.0
    drain_s: float = 30.0
    body_grace_s: float = 30.0
    body_bytes_per_s: int = 128
    """The lowest average speed of a request body, once `body_grace_s` has passed."""


def request_ids(seed: str) -> Iterator[bytes]:
    """Request ids in the form of UUIDs. The 40 hex digits of the seed make them random; the last digits count up."""
    prefix = f"{seed[:8]}-{seed[8:12]}-4{seed[12:15]}-a{seed[15:18]}-".encode()
    high = int(seed[18:27], 16)
    while True:
        block = b"%b%09x" % (prefix, high)
        for low in _LOW:
            yield block + low
        high = (high + 1) & 0xFFFFFFFFF


class Connector:
    """What an exchange needs of the backends' side; implemented by `back.upstreams`."""

    def connect(self, backend: Backend, exchange: Any, *, fresh: bool, repeatable: bool) -> Any:
        """A connection to the backend for this exchange: from the pool, or new if the pool is empty or `fresh` is set.
        A request that is not `repeatable` gets no connection that has been idle for longer than `fresh_s`. Raises
        OSError when connecting fails at once."""
        raise NotImplementedError

    def eject(self, backend: Backend) -> None:
        """The backend refused a connection: give it no requests for `eject_s`."""
        raise NotImplementedError

    def drained(self, backend: Backend) -> None:
        """A draining backend has no request left."""
        raise NotImplementedError

    def compressed(self, upstream: Any) -> None:
        """A piece of a body from this connection was compressed, which may have taken long."""
        raise NotImplementedError


class Shared:
    """What the parts of one worker share."""

    upstreams: Connector
    """Set by `back.upstreams.Upstreams`."""

    def __init__(
        self,
        *,
        worker: int = 0,
        log_dir: Path | None = None,
        templates: Path | None = None,
        files: Path | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.worker = worker
        self.pid = os.getpid()
        self.limits = limits or Limits()
        self.loop = Loop(clock=clock)
        self.later = Later(self.loop)
        self.table = RouteTable()
        self.backends: dict[str, Backend] = {}
        """By id: the backends of the table, and removed ones that still have requests in flight."""
        self.gates: dict[str, Gate] = {}
        """By app, for apps whose requests may have to wait."""
        self.requests = request.reader()
        self.trusted_requests = request.reader(trusted=True)
        self.trusted: tuple[IPv4Network | IPv6Network, ...] = ()
        """Networks of proxies whose X-Forwarded-For, -Proto, -Port and -Host are believed."""
        self.responses = response.reader()
        self.status_lines = response.status_lines()
        self.pages = Pages(templates, files)
        self.metrics = Metrics()
        self.access = AccessLog(log_dir, worker, self.metrics)
        self._log_when_idle()
        self.pipes = Pipes()
        self.clients: set[Stream] = set()
        self.draining = False
        self.on_tick: list[Callable[[float], None]] = []
        """Called once a second; the loop keeps ticking while there are any."""
        self.on_event: Callable[[dict[str, Any]], None] = lambda event: None
        """Called when a backend has `drained` or `refused` a connection."""
        self.new_id: Callable[[], bytes] = request_ids(os.urandom(20).hex()).__next__
        self._stamped = 0.0
        self._stamp = b""

    def _log_when_idle(self) -> None:
        """Format entries of the access log while the loop has nothing else to do, and write them in time."""
        self.loop.backlog = self.access.entries
        self.loop.idle_work = self.access.format_some
        self.loop.deadline_work = self.access.flush

    def trusts(self, address: bytes) -> bool:
        """Whether a client at this address is a proxy whose forwarding headers are believed."""
        if not self.trusted:
            return False
        client = ip_address(address.decode())
        return any(client in network for network in self.trusted)

    def wall_ms(self) -> bytes:
        """Unix time in milliseconds as text, formatted once for all events of a batch."""
        if self._stamped != self.loop.now:
            self._stamped = self.loop.now
            self._stamp = b"%d" % (self.loop.wall * 1000)
        return self._stamp
