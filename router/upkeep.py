"""The timers of a worker (timeouts of clients, idle connections, ejections), and its drain."""

from __future__ import annotations

from router.back.upstreams import Upstreams
from router.middle.inflight import InFlight
from router.shared import Shared


class Upkeep:
    """The ticks of one worker."""

    def __init__(self, shared: Shared, upstreams: Upstreams) -> None:
        self._shared = shared
        self._upstreams = upstreams
        self._drain_ends = 0.0
        shared.loop.on_tick = self._tick
        shared.loop.busy = self._busy

    def _busy(self) -> bool:
        """Whether the loop must tick even if no event comes."""
        shared = self._shared
        return bool(shared.clients or shared.access.pending or shared.draining or shared.on_tick) or any(
            b.idle or b.ejected_until for b in shared.backends.values()
        )

    def _tick(self, now: float) -> None:
        """Once a second."""
        shared = self._shared
        for client in list(shared.clients):
            client.check(now)
        self._upstreams.close_idle(now)
        for call in list(shared.on_tick):
            call(now)
        if shared.draining:
            self._check_drain(now)

    def start_drain(self) -> None:
        """Finish what runs, then stop the loop. The worker has closed its listeners."""
        shared = self._shared
        if shared.draining:
            return
        shared.draining = True
        self._drain_ends = shared.loop.now + shared.limits.drain_s
        for client in shared.clients:
            exchange: InFlight | None = getattr(client, "exchange", None)
            if exchange is not None:
                exchange.fast_path = False  # its answer says that the connection will be closed

    def _check_drain(self, now: float) -> None:
        shared = self._shared
        if now >= self._drain_ends:
            for client in list(shared.clients):
                client.abort()
        if not shared.clients:
            shared.loop.stopped = True
