"""The connection to the spawner: what runs is known while it is there, and nothing is believed while it is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.fake_runtime import FakeSpawner

from paas.converge import link as links
from paas.converge.link import Link, SpawnerDown, Stats
from runtime.client import SpawnerError
from runtime.frames import encode_json
from runtime.reactor import Reactor
from runtime.spec import Box, Order, Process


class Connection:
    """A link, the spawner at its other end, and how often the loop was told that something happened."""

    def __init__(self) -> None:
        self.spawner, self.reactor, self.changes = FakeSpawner(), Reactor(), 0
        self.link = Link(self.reactor, self.spawner, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def start(self, id: str) -> None:
        self.spawner.create(Order(id, "a1"), Box(("sha256:1",), Process(("run",)), 65536))

    def turn(self) -> None:
        """Let one event arrive."""
        before = self.changes
        self.reactor.turn(5.0)
        assert self.changes > before

    def close(self) -> None:
        self.link.close()
        self.spawner.close()
        self.reactor.close()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setattr(links, "RETRY_S", 0.0)
    connection = Connection()
    yield connection
    connection.close()


def test_it_lists_what_runs_when_it_connects(made: Connection) -> None:
    made.start("i1")
    assert made.link.containers is None, "nothing is known before"
    assert made.link.refresh()
    assert made.link.containers == {"i1": "running"}
    assert made.link.block_base == made.spawner.info()["block"]["id_base"]


def test_it_lists_again_only_when_something_ended(made: Connection) -> None:
    made.start("i1")
    assert made.link.refresh() and made.link.refresh()
    assert made.link.listing == 1
    made.spawner.end("i1", status=3)
    made.turn()
    assert made.link.refresh()
    assert (made.link.listing, made.link.containers) == (2, {"i1": "exited"})
    seen = made.link.seen["i1"].exit
    assert seen is not None and seen.status == 3


def test_what_others_start_is_found_when_the_list_has_expired(made: Connection) -> None:
    made.link.refresh()
    made.start("i7")
    made.link.expire(3600.0)
    made.link.refresh()
    assert made.link.containers == {}, "the list is younger than that"
    made.link.expire(-1.0)
    made.link.refresh()
    assert made.link.containers == {"i7": "running"}


def test_the_loops_own_starts_and_removals_need_no_list(made: Connection) -> None:
    made.link.refresh()
    made.link.started("i1")
    assert made.link.containers == {"i1": "running"}
    made.link.deleted("i1")
    made.link.deleted("i1")
    assert (made.link.containers, made.link.listing) == ({}, 1)


def test_what_ran_out_of_memory_is_remembered_without_a_list(made: Connection) -> None:
    made.link.refresh()
    made.spawner.announce({"event": "oom", "id": "i4"})
    made.turn()
    made.link.refresh()
    assert (made.link.oomed, made.link.listing) == (["i4"], 1)


def test_a_spawner_that_dies_takes_what_was_known_with_it_until_it_is_back(made: Connection) -> None:
    made.start("i1")
    made.link.refresh()
    made.spawner.crash()
    made.turn()
    assert made.link.containers is None
    assert not made.link.refresh()
    made.link.started("i2")
    assert made.link.containers is None, "a start that was under way makes no list"
    made.spawner.down = False
    assert made.link.refresh()
    assert made.link.containers == {"i1": "running"}


def test_a_spawner_that_is_away_is_not_asked_all_the_time(
    made: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "RETRY_S", 3600.0)
    made.spawner.down = True
    made.link._tried_at = float("-inf")
    assert not made.link.refresh()
    made.spawner.down = False
    assert not made.link.refresh(), "the next try is later"


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", encode_json(7)[:4] + b"{"], ids=["a huge frame", "no JSON"]
)
def test_a_spawner_that_talks_nonsense_is_as_good_as_gone(made: Connection, data: bytes) -> None:
    made.link.refresh()
    made.spawner._watchers[0].sendall(data)
    made.turn()
    assert made.link.containers is None


@pytest.mark.parametrize("message", [[], "exit", {"event": "started", "id": "i1"}, {}])
def test_an_event_that_it_does_not_know_changes_nothing(made: Connection, message: object) -> None:
    made.link.refresh()
    made.spawner.announce(message)
    made.turn()
    assert made.link.refresh() and made.link.listing == 1


def test_a_refusal_is_an_answer_and_silence_is_none(made: Connection) -> None:
    made.link.refresh()
    with pytest.raises(SpawnerError, match="missing"), made.link.calling():
        raise SpawnerError("no-layer", "a layer is missing")
    assert made.link.containers == {}, "the spawner is still there"
    for error in (OSError("broken pipe"), SpawnerError("unavailable", "away")):
        made.link.refresh()
        with pytest.raises(SpawnerDown), made.link.calling():
            raise error
        assert made.link.containers is None


def test_samples_are_what_the_loop_compares(made: Connection) -> None:
    made.link.refresh()
    assert made.link.stats("i1") == Stats(frozenset([1]), 0, 0)
    made.spawner.down = True
    with pytest.raises(SpawnerDown):
        made.link.stats("i1")
