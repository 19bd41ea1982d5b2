"""The control link against workers that keep state, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paas.converge.rollout import Traffic
from paas.converge.routers import Routers
from runtime.frames import JsonDecoder, encode_json
from runtime.reactor import Reactor


def table(*draining: str, active: tuple[str, ...] = ("i1",)) -> dict[str, Any]:
    backends = [{"id": id, "draining": False} for id in active] + [
        {"id": id, "draining": True} for id in draining
    ]
    return {"generation": 0, "routes": [{"host": "hello"}], "pools": {"a1": backends}}


class Worker:
    """A router worker's control socket, answered step by step."""

    def __init__(self, folder: Path, pid: int, generation: int = 0) -> None:
        self.path = folder / f"worker-{pid}.sock"
        self.generation = generation
        self.tables: list[dict[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._peer: socket.socket | None = None
        self._decoder = JsonDecoder()

    def serve(self) -> None:
        if self._peer is None:
            try:
                self._peer, _ = self._listener.accept()
            except BlockingIOError:
                return
            self._peer.setblocking(False)
        try:
            messages = self._decoder.feed(self._peer.recv(65536))
        except BlockingIOError:
            return
        for message in messages:
            self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        if message["op"] == "table":
            fresh = message["table"]["generation"] > self.generation
            if fresh:
                self.generation = message["table"]["generation"]
                self.tables.append(message["table"])
            self.tell({"ok": fresh, "generation": self.generation})
        elif message["op"] == "stats":
            self.tell({"ok": True, "requests": {"hello": {"total": 7, "failed": 1}}})
        else:
            self.tell({"ok": True})

    def tell(self, message: dict[str, Any]) -> None:
        assert self._peer is not None
        self._peer.sendall(encode_json(message))

    def close(self) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)
        if self._peer is not None:
            self._peer.close()


class Link:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reactor = Reactor()
        self.changes = 0
        self.routers = Routers(self.reactor, folder, self._changed)
        self.workers: list[Worker] = []

    def _changed(self) -> None:
        self.changes += 1

    def worker(self, generation: int = 0) -> Worker:
        self.workers.append(Worker(self.folder, 100 + len(self.workers), generation))
        return self.workers[-1]

    def turn(self) -> None:
        self.routers.discover()
        for _ in range(4):
            for worker in self.workers:
                worker.serve()
            self.reactor.turn(0.005)

    def close(self) -> None:
        self.routers.close()
        for worker in self.workers:
            worker.close()
        self.reactor.close()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    made = Link(tmp_path)
    yield made
    made.close()


def test_a_table_counts_only_when_every_worker_has_it(link: Link) -> None:
    first, second = link.worker(), link.worker()
    assert not link.routers.acked
    link.routers.offer(table())
    link.turn()
    assert link.routers.acked
    assert first.tables == second.tables
    link.routers.offer(table("i1", active=("i2",)))
    assert not link.routers.acked
    link.turn()
    assert link.routers.acked
    assert [t["generation"] for t in first.tables] == [1, 2]


def test_the_same_table_is_not_sent_again(link: Link) -> None:
    worker = link.worker()
    for _ in range(3):
        link.routers.offer(table())
        link.turn()
    assert len(worker.tables) == 1


def test_a_worker_that_knows_a_later_generation_is_overtaken(link: Link) -> None:
    worker, other = link.worker(generation=57), link.worker()
    link.routers.offer(table())
    link.turn()
    link.turn()
    assert (worker.generation, other.generation, link.routers.acked) == (58, 58, True)


def test_a_worker_that_appears_later_gets_the_present_table(link: Link) -> None:
    link.routers.offer(table())
    link.turn()
    late = link.worker()
    link.turn()
    assert (len(late.tables), link.routers.acked) == (1, True)


def test_a_worker_that_dies_is_forgotten_and_its_socket_file_is_no_obstacle(link: Link) -> None:
    first, second = link.worker(), link.worker()
    link.routers.offer(table())
    link.turn()
    changes = link.changes
    first.close()
    first.path.touch()
    link.workers.remove(first)
    link.turn()
    assert link.changes > changes
    assert link.routers.acked
    assert second.generation == 1


def test_an_instance_has_drained_when_no_worker_has_a_request_for_it(link: Link) -> None:
    first, second = link.worker(), link.worker()
    link.routers.offer(table("i9"))
    link.turn()
    first.tell({"event": "drained", "id": "i9"})
    link.turn()
    assert link.routers.drained == frozenset()
    second.tell({"event": "drained", "id": "i9"})
    link.turn()
    assert link.routers.drained == {"i9"}


def test_an_instance_that_takes_requests_again_has_not_drained(link: Link) -> None:
    worker = link.worker()
    link.routers.offer(table("i9"))
    link.turn()
    worker.tell({"event": "drained", "id": "i9"})
    link.turn()
    link.routers.offer(table(active=("i1", "i9")))
    link.turn()
    link.routers.offer(table("i9"))
    link.turn()
    assert link.routers.drained == frozenset()


def test_news_of_an_older_table_is_not_believed(link: Link) -> None:
    worker = link.worker()
    link.routers.offer(table("i9"))
    link.turn()
    link.routers.offer(table(active=("i1", "i9")))
    worker.tell({"event": "drained", "id": "i9"})
    link.turn()
    link.routers.offer(table("i9"))
    link.turn()
    assert link.routers.drained == frozenset()


def test_traffic_is_the_sum_over_workers(link: Link) -> None:
    link.worker()
    link.worker()
    link.turn()
    link.routers.ask_stats()
    link.turn()
    assert link.routers.traffic("hello") == Traffic(14, 2)
    assert link.routers.traffic("other") == Traffic(0, 0)


@pytest.mark.parametrize(
    "made_up",
    [
        {"event": "drained", "id": ["i2"]},
        {"event": {}, "id": {}},
        {"ok": True, "requests": [1]},
        {"ok": True, "requests": {"hello": [1]}},
        {"ok": True, "requests": {"hello": {"total": "x", "failed": None}}},
    ],
)
def test_what_a_worker_that_was_taken_over_makes_up_is_left_out(link: Link, made_up: dict[str, Any]) -> None:
    worker = link.worker()
    link.routers.offer(table("i2"))
    link.turn()
    link.routers.ask_stats()
    worker.tell(made_up)
    link.turn()
    assert link.routers.drained == frozenset()
    assert link.routers.traffic("hello").requests in (0, 7)
