"""A spawner and router that keep state and run nothing, for tests of the loop."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.client import SpawnerError
from runtime.frames import encode_json
from runtime.image.newblob import used_since
from runtime.protocol import Exit, Started
from runtime.spec import Box, Order


@dataclass
class FakeContainer:
    id: str
    order: Order
    box: Box
    state: str = "running"
    address: str | None = None
    exit: Exit | None = None
    signals: list[str] = field(default_factory=list)


class FakeSpawner:
    """The verbs that converge uses. `stubborn` containers ignore SIGTERM; `refuse` names types that cannot start."""

    def __init__(self) -> None:
        self.containers: dict[str, FakeContainer] = {}
        self.created: list[str] = []
        self.layer_digests: set[str] = set()
        self.images: Path | None = None
        self.removed_apps: list[str] = []
        self.down = False
        self.stubborn = False
        self.refuse: set[str] = set()
        self._watchers: list[socket.socket] = []

    def create(self, order: Order, box: Box) -> Started:
        self._check()
        if order.type in self.refuse:
            raise SpawnerError("no-layer", "a layer is missing", "Push again.")
        address = f"127.0.0.{1 + len(self.created) % 250}"
        self.created.append(order.id)
        self.containers[order.id] = FakeContainer(order.id, order, box, address=address)
        return Started(1, 1, "boot", address, 0.0)

    def signal(self, id: str, signal: str, *, all: bool = False) -> None:
        self._check()
        self.containers[id].signals.append(signal)
        if not self.stubborn:
            self.end(id, status=143)

    def kill(self, id: str) -> None:
        self._check()
        if id in self.containers:
            self.end(id, status=137)

    def delete(self, id: str) -> Exit | None:
        self._check()
        gone = self.containers.pop(id, None)
        return gone.exit if gone else None

    def list(self) -> Any:
        self._check()
        return [*self.containers.values()]

    def sockets(self, id: str) -> Any:
        self._check()
        return []

    def stats(self, id: str) -> dict[str, Any]:
        self._check()
        return {"processes": [1], "oom_kills": 0, "peak_memory_bytes": 0}

    def watch(self) -> socket.socket:
        self._check()
        ours, theirs = socket.socketpair()
        self._watchers.append(ours)
        return theirs

    def info(self) -> dict[str, Any]:
        self._check()
        return {"block": {"id_base": 65536 * 100}}

    def layers(self) -> Any:
        return [type("L", (), {"digest": digest}) for digest in sorted(self.layer_digests)]

    def remove_layer(self, digest: str, *, unused_since: float | None = None) -> bool:
        if unused_since and self.images and used_since(self.images, digest, unused_since):
            return False
        self.layer_digests.discard(digest)
        return True

    def remove_app(self, app_id: str) -> None:
        self.removed_apps.append(app_id)

    def end(self, id: str, *, status: int, oom_kills: int = 0) -> None:
        """The container ends by itself."""
        found = self.containers[id]
        if found.state == "running":
            found.state, found.exit = "exited", Exit(status, None, oom_kills, 1 << 20, 0.0, False)
            self.announce({"event": "exit", "id": id})

    def crash(self) -> None:
        """The spawner dies; containers live on."""
        self.down = True
        for sock in self._watchers:
            sock.close()
        self._watchers.clear()

    def named(self, dyno: str) -> list[FakeContainer]:
        return [c for c in self.containers.values() if c.order.name == dyno]

    def close(self) -> None:
        for sock in self._watchers:
            sock.close()

    def _check(self) -> None:
        if self.down:
            raise SpawnerError("unavailable", "away")

    def announce(self, event: object) -> None:
        """Send an event to everybody that watches."""
        for sock in list(self._watchers):
            try:
                sock.sendall(encode_json(event))
            except OSError:
                sock.close()
                self._watchers.remove(sock)
