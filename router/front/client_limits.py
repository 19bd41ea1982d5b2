"""How many connections there may be: of one client, and of all clients together (descriptors run out)."""

from __future__ import annotations

import heapq
import os
from ipaddress import ip_address
from typing import Final

from router.shared import Shared

MOMENT_S: Final = 1.0
FEW_IDLE: Final = 64


class ClientLimit:
    """Counts the connections of each client, where there is a limit (0: none). An address of IPv6 stands for its
    /64."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}

    def admit(self, fd: int, address: bytes) -> bool:
        """Count this connection, unless its client has as many as it may have."""
        if not self.add(address):
            return False
        self._keys[fd] = _key(address)
        return True

    def add(self, address: bytes) -> bool:
        """Count one more of this client: a connection, or a request beside others on one (HTTP/2)."""
        key = _key(address)
        count = self._counts.get(key, 0)
        if count >= self.limit:
            return False
        self._counts[key] = count + 1
        return True

    def remove(self, address: bytes) -> None:
        """Count one less of this client."""
        self._free(_key(address))

    def _free(self, key: bytes) -> None:
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    @property
    def count(self) -> int:
        """Connections of all clients."""
        return len(self._keys)

    def close(self, fd: int) -> None:
        """Close a descriptor, and count the connection no more. The loop calls this for each descriptor that it
        closes."""
        os.close(fd)
        key = self._keys.pop(fd, None)
        if key is not None:
            self._free(key)


def _key(address: bytes) -> bytes:
    return address if b":" not in address else ip_address(address.decode()).packed[:8]


class IdleEviction:
    """Closes the connections that have been idle longest when descriptors run out."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._evicted_at = self._crowded_until = 0.0

    def evict(self) -> bool:
        """Close some idle connections; False if none is idle. Once none was found it does not search for MOMENT_S."""
        shared = self._shared
        now = shared.loop.now
        if now == self._evicted_at or now < self._crowded_until:
            return now == self._evicted_at  # descriptors come free when a batch of events is through
        idle = [
            (since, id(c), c) for c in shared.clients if 0.0 < (since := c.resting_since()) <= now - MOMENT_S
        ]
        if not idle:
            self._crowded_until = now + MOMENT_S
            return False
        self._evicted_at = now
        for _, _, client in heapq.nsmallest(max(FEW_IDLE, len(idle) // 32), idle):
            client.give_up()
            shared.metrics.given_up += 1
        return True
