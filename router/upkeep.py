"""What is timed in a worker: limits of clients, idle connections, ejections; and how it drains."""

from __future__ import annotations

from router.back.upstreams import Upstreams
from router.middle.inflight import InFlight
from router.shared import Proxy


class Upkeep:
    """The ticks of one worker."""

    def __init__(self, proxy: Proxy, upstreams: Upstreams) -> None:
        self._proxy = proxy
        self._upstreams = upstreams
        self._drain_ends = 0.0
        proxy.loop.on_tick = self._tick
        proxy.loop.busy = self._busy

    def _busy(self) -> bool:
        """Whether anything has to be looked at without an event."""
        proxy = self._proxy
        return bool(proxy.clients or proxy.access.pending or proxy.draining or proxy.on_tick) or any(
            b.idle or b.ejected_until for b in proxy.backends.values()
        )

    def _tick(self, now: float) -> None:
        """Once a second."""
        proxy = self._proxy
        for client in list(proxy.clients):
            client.check(now)
        self._upstreams.close_idle(now)
        for call in list(proxy.on_tick):
            call(now)
        if proxy.draining:
            self._check_drain(now)

    def start_drain(self) -> None:
        """Finish what runs, then stop the loop. The worker has closed its listeners."""
        proxy = self._proxy
        if proxy.draining:
            return
        proxy.draining = True
        self._drain_ends = proxy.loop.now + proxy.limits.drain_s
        for client in proxy.clients:
            exchange: InFlight | None = getattr(client, "exchange", None)
            if exchange is not None:
                exchange.fast_path = False  # its answer says that the connection will be closed

    def _check_drain(self, now: float) -> None:
        proxy = self._proxy
        if now >= self._drain_ends:
            for client in list(proxy.clients):
                client.abort()
        if not proxy.clients:
            proxy.loop.stopped = True
