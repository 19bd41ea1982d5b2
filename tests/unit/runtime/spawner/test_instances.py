"""How a spawner knows its containers: watched to their end, found again, removed; processes that sleep play containers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from harness.engine import BASE, engine_home, forked

from runtime.container import records
from runtime.container.engine import ContainerError, Engine
from runtime.container.records import Instance
from runtime.kernel.process import identify
from runtime.protocol import Exit
from runtime.reactor import Reactor
from runtime.spawner.instances import Instances
from runtime.spec import Limits, Order


def wait() -> None:
    while True:
        time.sleep(60)


class Spawner:
    """An engine, a loop and the instances; `events` is what was told of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reactor = Reactor()
        self.events: list[tuple[str, str]] = []
        self.started: list[int] = []
        self.instances = Instances(engine, self.reactor, lambda *event: self.events.append(event))

    def start(self, id: str) -> Instance:
        """Two processes, one as the container and one as its shim, with all that belongs to an instance."""
        engine = self.engine
        engine.run_folder(id).mkdir()
        (engine.layout.instances / id / "upper").mkdir(parents=True)
        group = engine.cgroups.create(id, Limits())
        pid, shim = forked(wait), forked(wait)
        self.started += [pid, shim]
        group.join(pid)
        group.join(shim, shim=True)
        instance = Instance(
            order=Order(id, "app1"),
            id_base=BASE,
            process=identify(pid, engine.boot_id),
            shim=identify(shim, engine.boot_id),
            started_at=1.0,
            pidfd=os.pidfd_open(pid),
            shim_pidfd=os.pidfd_open(shim),
        )
        records.write_state(engine.run_folder(id), instance.to_json())
        return instance

    def until(self, event: str, id: str) -> None:
        while (event, id) not in self.events:
            self.reactor.turn()

    def delete(self, id: str) -> Exit | None:
        done: list[Exit | None] = []
        self.instances.delete(id, done.append)
        while not done:
            self.reactor.turn()
        return done[0]

    def leftovers(self) -> list[str]:
        layout = self.engine.layout
        uppers = [name for name in os.listdir(layout.instances) if name != ".trash"]
        return [*uppers, *os.listdir(layout.run_instances), *self.engine.cgroups.groups()]


def end(instance: Instance) -> None:
    """Let the container end; its shim says nothing yet."""
    os.kill(instance.process.pid, signal.SIGKILL)
    os.waitpid(instance.process.pid, 0)


def record(spawner: Spawner, instance: Instance, status: int) -> None:
    said = Exit(status, None, 0, 1, 2.0, False)
    (spawner.engine.run_folder(instance.id) / "exit.json").write_text(json.dumps(asdict(said)))


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    with engine_home(tmp_path) as engine:
        made = Spawner(engine)
        yield made
        for instance in made.instances:
            made.delete(instance.id)
        for pid in made.started:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def test_what_runs_is_known_and_what_is_not_there_is_not_found(spawner: Spawner) -> None:
    one = spawner.start("i1")
    spawner.instances.add(one)
    assert list(spawner.instances) == [one] and spawner.instances.running("i1") is one
    seen = spawner.instances.observed(one)
    assert (seen.id, seen.state, seen.exit, seen.pid) == ("i1", "running", None, one.process.pid)
    with pytest.raises(ContainerError) as missing:
        spawner.instances.get("i2")
    assert (missing.value.code, str(missing.value)) == ("not_found", "there is no instance i2")


def test_the_record_of_the_shim_says_how_a_container_ended(spawner: Spawner) -> None:
    one = spawner.start("i1")
    spawner.instances.add(one)
    end(one)
    assert spawner.instances.observed(one).state == "running", "its record is not there yet"
    spawner.reactor.later(0.03, lambda: record(spawner, one, 3))  # the shim follows a moment later
    spawner.until("exit", "i1")
    seen = spawner.instances.observed(one)
    assert seen.state == "exited" and seen.exit is not None and seen.exit.status == 3
    with pytest.raises(ContainerError) as over:
        spawner.instances.running("i1")
    assert over.value.code == "not_running"
    assert spawner.events == [("exit", "i1")]


def test_a_container_that_ended_together_with_its_shim_was_killed(spawner: Spawner) -> None:
    one = spawner.start("i1")
    spawner.instances.add(one)
    os.kill(one.shim.pid, signal.SIGKILL)
    while one.shim_alive():
        spawner.reactor.turn()
    assert spawner.instances.observed(one).state == "broken"
    end(one)
    spawner.until("exit", "i1")
    seen = spawner.instances.observed(one)
    assert seen.exit is not None and (seen.exit.status, seen.exit.signal) == (137, 9)
    assert records.read_exit(spawner.engine, "i1") == seen.exit, "a later spawner finds the same"


def test_deleting_kills_waits_for_the_end_and_leaves_nothing(spawner: Spawner) -> None:
    one, other = spawner.start("i1"), spawner.start("i2")
    for instance in (one, other):
        spawner.instances.add(instance)
    record(spawner, one, 137)
    found: list[Exit | None] = []
    spawner.instances.delete("i1", found.append)
    spawner.instances.delete("i1", found.append)  # two who ask get the same answer
    while len(found) < 2:
        spawner.reactor.turn()
    assert found[0] is not None and found[0] == found[1] and found[0].status == 137
    assert spawner.delete("i1") is None, "which is gone: nothing to say"
    assert list(spawner.instances) == [other]
    assert sorted(spawner.leftovers()) == ["i2", "i2", "i2"]
    record(spawner, other, 0)


def test_a_new_spawner_adopts_what_runs_and_removes_what_was_never_finished(spawner: Spawner) -> None:
    one, ended = spawner.start("i1"), spawner.start("i2")
    end(ended)
    record(spawner, ended, 4)
    engine = spawner.engine
    half = engine.run_folder("i3")
    half.mkdir()
    records.write_state(half, {"id": "i3", "phase": "creating"})
    engine.cgroups.create("i4", Limits())
    (engine.layout.instances / "i5").mkdir()
    assert spawner.instances.recover() == ["i1", "i2"]
    assert spawner.events == [("exit", "i2")]
    found = spawner.instances.get("i1")
    assert found == one and found.pidfd not in (None, one.pidfd) and found.alive()
    assert spawner.instances.observed(spawner.instances.get("i2")).exit is not None
    assert set(spawner.leftovers()) == {"i1", "i2"}
    for instance in (one, ended):
        instance.close()
    record(spawner, one, 0)
