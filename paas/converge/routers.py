"""Connections to the router's workers: each gets every table, acknowledges it, and reports drained backends."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paas.converge.rollout import Traffic
from paas.routing import workers
from runtime.frames import FrameError, JsonDecoder, encode_json
from runtime.reactor import READ, WRITE, Reactor

log = logging.getLogger("converge.routers")

Message = dict[str, Any]


class Worker:
    """One connection to one worker. Requests are answered in order; events come in between."""

    def __init__(self, reactor: Reactor, path: Path, owner: Routers) -> None:
        self.path, self._reactor, self._owner = path, reactor, owner
        self.generation = -1
        self.drained: set[str] = set()
        self.requests: Message = {}
        self._decoder, self._out = JsonDecoder(), bytearray()
        self._waiting: list[str] = []
        self._sock = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            self._sock.connect(str(path))
        except OSError:
            self._sock.close()
            raise
        reactor.watch(self._sock.fileno(), lambda _: self._event())
        self.send({"op": "subscribe"})

    def send(self, message: Message) -> None:
        self._waiting.append(message["op"])
        self._out += encode_json(message)
        self._event()

    def close(self) -> None:
        self._reactor.forget(self._sock.fileno())
        self._sock.close()

    def _event(self) -> None:
        try:
            self._read()
            if self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except (OSError, FrameError) as error:
            log.info("router worker gone socket=%s reason=%s", self.path.name, error)
            self._owner.lost(self)
            return
        events = READ | (WRITE if self._out else 0)
        self._reactor.watch(self._sock.fileno(), lambda _: self._event(), events)

    def _read(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError("closed")
        for message in self._decoder.feed(data):
            if isinstance(message, dict):
                self._heard(message)

    def _heard(self, message: Message) -> None:
        if "event" in message:
            drained = message.get("id")
            if message["event"] == "drained" and isinstance(drained, str) and drained in self._owner.draining:
                self.drained.add(drained)
                self._owner.changed()
            return
        op = self._waiting.pop(0) if self._waiting else ""
        if op == "table":
            generation = message.get("generation")
            if isinstance(generation, int):
                self.generation = generation
                if not message.get("ok"):
                    self._owner.refused(generation)
            self._owner.changed()
        elif op == "stats":
            self.requests = _counters(message.get("requests"))
            self._owner.changed()


def _counters(value: object) -> Message:
    """App → counter → number. Workers face the internet, so malformed counters are dropped."""
    found: Message = {}
    for app, counters in value.items() if isinstance(value, dict) else ():
        if isinstance(counters, dict):
            found[app] = {name: count for name, count in counters.items() if type(count) is int}
    return found


class Routers:
    """All workers. `offer` sends a table when its content differs from the last; `changed` is called when
    anything that decisions depend on has happened. `draining` are the backends that leave in the present table."""

    def __init__(self, reactor: Reactor, folder: Path, changed: Callable[[], None]) -> None:
        self._reactor, self._folder, self.changed = reactor, folder, changed
        self._workers: dict[str, Worker] = {}
        self._table: Message = {"generation": 0, "routes": [], "pools": {}}
        self._offered = False
        self.draining: frozenset[str] = frozenset()

    def discover(self) -> None:
        """Connect to workers that have appeared; each gets the present table."""
        for path in workers.sockets(self._folder):
            if path.name in self._workers:
                continue
            try:
                worker = Worker(self._reactor, path, self)
            except OSError:
                continue
            self._workers[path.name] = worker
            if self._offered:
                worker.send({"op": "table", "table": self._table})

    def offer(self, table: Message) -> None:
        """Send this table to every worker; its `generation` is replaced by the next one."""
        if self._offered and {**table, "generation": self._table["generation"]} == self._table:
            return
        self._offered = True
        self._publish({**table, "generation": self._table["generation"] + 1})

    def refused(self, current: int) -> None:
        """A worker has a newer table, from an earlier process: continue counting from its generation."""
        if current >= self._table["generation"]:
            self._publish({**self._table, "generation": current + 1})

    def lost(self, worker: Worker) -> None:
        worker.close()
        if self._workers.get(worker.path.name) is worker:
            del self._workers[worker.path.name]
        self.changed()

    @property
    def acked(self) -> bool:
        """Whether there are workers and each has the present table."""
        current = self._table["generation"]
        return bool(self._workers) and all(worker.generation == current for worker in self._workers.values())

    @property
    def drained(self) -> frozenset[str]:
        """Runtime ids of draining backends that no worker has a request left for."""
        sets = [worker.drained for worker in self._workers.values()]
        return frozenset(set.intersection(*sets)) if sets else frozenset()

    def ask_stats(self) -> None:
        """Ask every worker for its counters; `traffic` gives them when they have come."""
        for worker in list(self._workers.values()):
            worker.send({"op": "stats"})

    def traffic(self, app: str) -> Traffic:
        """Requests of the app (by name) so far and how many of them failed, as the counters last said."""
        requests = failed = 0
        for worker in self._workers.values():
            counters = worker.requests.get(app) or {}
            requests += int(counters.get("total", 0))
            failed += int(counters.get("failed", 0))
        return Traffic(requests, failed)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def _publish(self, table: Message) -> None:
        self._table = table
        log.info(
            "table generation=%d routes=%d workers=%d",
            table["generation"],
            len(table["routes"]),
            len(self._workers),
        )
        before = self.draining
        self.draining = frozenset(b["id"] for pool in table["pools"].values() for b in pool if b["draining"])
        for worker in list(self._workers.values()):
            worker.drained &= before & self.draining
            worker.send({"op": "table", "table": table})
