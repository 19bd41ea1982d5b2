"""The connection to the spawner: the containers, kept current by its event stream, and calls that notice its absence."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.client import Spawner, SpawnerError
from runtime.frames import FrameError, JsonDecoder
from runtime.protocol import Observed
from runtime.reactor import Reactor

log = logging.getLogger("converge.link")

RETRY_S = 0.2
RELIST_S = 60.0
"""Events report ends; one list a minute repairs a lost event."""


class SpawnerDown(Exception):
    """The spawner does not answer; the loop looks at everything again when it does."""


@dataclass(frozen=True)
class Stats:
    """One sample. `pids` are the processes of the container, by host id."""

    pids: frozenset[int]
    oom_kills: int
    peak_memory_bytes: int


class Link:
    """`containers` (runtime id -> state) is None while the spawner is away; `listing` counts the lists made.
    `changed` is called for every event."""

    def __init__(self, reactor: Reactor, client: Spawner, changed: Callable[[], None]) -> None:
        self._reactor, self.client, self._changed = reactor, client, changed
        self.seen: dict[str, Observed] = {}
        self.containers: dict[str, str] | None = None
        self.block_base = 0
        self.listing = 0
        self.oomed: list[str] = []
        self._watch: socket.socket | None = None
        self._decoder = JsonDecoder()
        self._tried_at, self._listed_at = -RETRY_S, 0.0
        self._stale, self._waiting = True, False

    def refresh(self) -> bool:
        """Connect if necessary and list if something ended; returns whether the spawner is there. Cheap when nothing
        changed."""
        now = time.monotonic()
        if self._watch is None:
            if now - self._tried_at < RETRY_S:
                return False
            self._tried_at = now
            try:
                self._connect()
            except SpawnerDown as error:
                if not self._waiting:
                    log.info("waiting for the spawner reason=%s", error)
                self._waiting = True
                self._lose()
                return False
        if self._stale or now - self._listed_at > RELIST_S:
            try:
                with self.calling():
                    found = self.client.list()
            except SpawnerDown:
                return False
            self.seen = {item.id: item for item in found}
            self.containers = {item.id: item.state for item in found}
            self._stale, self._listed_at = False, now
            self.listing += 1
        return True

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Wrap a call: a spawner that is gone becomes SpawnerDown, a refusal stays SpawnerError."""
        try:
            yield
        except OSError as error:
            self._lose()
            raise SpawnerDown(str(error)) from error
        except SpawnerError as error:
            if error.code == "unavailable":
                self._lose()
                raise SpawnerDown(error.message) from error
            raise

    def expire(self, older_than_s: float) -> None:
        """Make the next refresh list again, since the api starts and ends containers too."""
        if time.monotonic() - self._listed_at > older_than_s:
            self._stale = True

    def started(self, id: str) -> None:
        if self.containers is not None:
            self.containers[id] = "running"

    def deleted(self, id: str) -> None:
        self.seen.pop(id, None)
        if self.containers is not None:
            self.containers.pop(id, None)

    def sockets(self, id: str) -> tuple[tuple[str, int], ...]:
        """Listening TCP sockets inside. Raises SpawnerDown or SpawnerError."""
        with self.calling():
            return tuple((item.address, item.port) for item in self.client.sockets(id))

    def stats(self, id: str) -> Stats:
        """Raises SpawnerDown or SpawnerError."""
        with self.calling():
            found = self.client.stats(id)
        return Stats(
            frozenset(found["processes"]), int(found["oom_kills"]), int(found["peak_memory_bytes"] or 0)
        )

    def close(self) -> None:
        self._lose()

    def _connect(self) -> None:
        with self.calling():
            self.block_base = int(self.client.info()["block"]["id_base"])
            self._watch = self.client.watch()
        self._watch.setblocking(False)
        self._decoder = JsonDecoder()
        self._stale, self._waiting = True, False
        self._reactor.watch(self._watch.fileno(), lambda _: self._event())

    def _event(self) -> None:
        assert self._watch is not None
        try:
            data = self._watch.recv(1 << 16)
            messages = self._decoder.feed(data)
        except BlockingIOError:
            return
        except (OSError, FrameError):
            data, messages = b"", []
        if not data:
            log.warning("spawner gone")
            self._lose()
        for message in messages:
            if isinstance(message, dict) and message.get("event") == "oom":
                self.oomed.append(str(message.get("id")))
            if isinstance(message, dict) and message.get("event") == "exit":
                self._stale = True
        self._changed()

    def _lose(self) -> None:
        if self._watch is not None:
            self._reactor.forget(self._watch.fileno())
            self._watch.close()
            self._watch = None
        self.containers = None
