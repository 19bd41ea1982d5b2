"""The whole loop over a real store and a spawner that keeps state: what happens, and what a kill at any point leaves."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.changes import push
from harness.fake_runtime import FakeSpawner
from harness.nouns import make_image

from paas.converge.health import Answer
from paas.converge.loop import Loop
from paas.converge.probe import Outcome
from paas.converge.routers import Routers
from paas.nouns.model import App, Deployment, Instance
from paas.nouns.settings import Settings, load
from paas.release.deployment import open_deployment
from paas.store import Store, Tx, apps, configs, deployments, formations, images, instances, releases
from runtime.home import Layout

PROCESSES = {"web": "serve", "worker": "work", "release": "migrate"}


class World:
    """A platform without processes. `look` lets the loop act; `answers` are what health probes hear."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings, self.layout = settings, settings.layout()
        self.store = Store.open(self.layout.database)
        self.spawner = FakeSpawner()
        self.loop = self.new_loop()
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None)
        self.images = 0

    def new_loop(self) -> Loop:
        return Loop(self.settings, self.store, self.spawner)

    def poke(self) -> None: ...

    def restart(self) -> None:
        """The loop dies without a word and another begins."""
        self.loop.close()
        self.loop = self.new_loop()

    def look(self, until: Callable[[], Any] = lambda: True, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            self.loop._look()
            if until():
                return
            assert time.monotonic() < deadline, "the loop does not get there"
            self.loop._reactor.turn(0.01)

    def push(self, *, release: bool = False, **processes: str) -> Deployment:
        self.images += 1
        named = processes or {k: v for k, v in PROCESSES.items() if k != "release" or release}
        digest = f"sha256:{self.images:064x}"
        with self.store.write() as tx:
            images.add(tx, make_image(app_id=self.app.id, digest=digest, layers=(digest,), processes=named))
        change = push(image_digest=digest, commit="c" * 40)
        _, deployment = open_deployment(self, self.app.id, change, wait_s=0)
        assert deployment is not None
        return deployment

    def scale(self, **counts: int) -> None:
        with self.store.write() as tx:
            for kind, count in counts.items():
                formations.set_quantity(tx, self.app.id, kind, count)

    def read(self, query: Callable[[Tx], Any]) -> Any:
        with self.store.read() as tx:
            return query(tx)

    def deployment(self, id: int) -> Deployment:
        return self.read(lambda tx: deployments.get(tx, id))

    def finished(self, id: int) -> Callable[[], bool]:
        return lambda: self.deployment(id).finished_at is not None

    def lines(self, id: int) -> list[str]:
        return [text for _, text in self.read(lambda tx: deployments.lines(tx, id))]

    def live(self) -> list[Instance]:
        return self.read(lambda tx: instances.live_of(tx, self.app.id))

    def up(self) -> list[str]:
        return sorted(i.name for i in self.live() if i.state == "up")

    def fresh_app(self) -> App:
        app = self.read(lambda tx: apps.by_id(tx, self.app.id))
        assert app is not None
        return app

    def close(self) -> None:
        self.loop.close()
        self.spawner.close()
        self.store.close()


class HealthyAttempt:
    """In the place of a connection: every instance answers at once."""

    answer: Outcome = Outcome("answer", Answer(True, 200))

    def __init__(self, reactor: Any, address: str, check: Any, host: str, done: Any) -> None:
        self._timer = reactor.later(0, lambda: done(HealthyAttempt.answer))

    def abort(self) -> None:
        self._timer.cancel()


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the machine has that, as hundreds of transactions wait for the disk."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="converge-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def world(memory_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    tmp_path = memory_folder
    monkeypatch.setattr(Layout, "run", property(lambda self: tmp_path / "run"))
    for folder in ("home/store", "home/logs", "home/images", "home/sources", "run/converge", "run/router"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "home/id").write_text("abcdef\n")
    monkeypatch.setattr("paas.converge.probe.Attempt", HealthyAttempt)
    monkeypatch.setattr("paas.converge.watch.SETTLE_S", 0.0)
    monkeypatch.setattr(HealthyAttempt, "answer", Outcome("answer", Answer(True, 200)))
    monkeypatch.setattr(Routers, "acked", property(lambda self: True))
    monkeypatch.setattr(
        Routers, "drained", property(lambda self: frozenset(f"i{n}" for n in range(1, 10_000)))
    )
    made = World(tmp_path, load({"home": str(tmp_path / "home")}, {}))
    yield made
    made.close()


def test_a_push_runs_its_release_command_then_serves(world: World) -> None:
    pushed = world.push(release=True)
    world.look(lambda: world.spawner.named("release.1"))
    assert world.deployment(pushed.id).state == "releasing"
    world.spawner.end(world.spawner.named("release.1")[0].id, status=0)
    world.look(world.finished(pushed.id))
    assert world.deployment(pushed.id).state == "succeeded"
    assert world.fresh_app().release_number == 1
    assert world.up() == ["web.1"]
    lines = world.lines(pushed.id)
    assert lines[:4] == [
        "-----> Release v1",
        "       Running release command: migrate",
        "-----> Starting web=1",
        "       No worker is started; start one with: paas scale worker=1 -a hello",
    ]
    assert lines[4].startswith("       web.1 up (healthy after ")
    assert lines[5] == "-----> Traffic switched to v1"


def test_a_failed_boot_leaves_the_old_release_and_its_configuration(world: World) -> None:
    world.look(world.finished(world.push().id))
    old = world.live()
    monkeyed = HealthyAttempt.answer
    HealthyAttempt.answer = Outcome("refused")
    change = push(
        image_digest=f"sha256:{world.images:064x}", set_vars={"A": "1"}, limits={"web": {"pids": 9}}
    )
    _, second = open_deployment(world, world.app.id, change)
    assert second is not None
    world.look(lambda: len(world.spawner.named("web.1")) == 2)
    world.spawner.end(max(world.spawner.named("web.1"), key=lambda c: int(c.id[1:])).id, status=3)
    world.look(world.finished(second.id))
    HealthyAttempt.answer = monkeyed
    error = world.deployment(second.id).error
    assert error is not None and error["cause"] == "exited with status 3"
    world.look(lambda: world.live() == old)
    release = world.read(lambda tx: releases.get(tx, world.app.id, 2))
    assert (release.state, release.cause) == ("failed", "exited with status 3")
    assert world.read(lambda tx: configs.of(tx, releases.serving(tx, world.fresh_app()))) == {}
    assert world.read(lambda tx: formations.of_app(tx, world.app.id))["web"].limits == {}


def test_what_cannot_be_started_fails_the_push_with_the_runtimes_reason(world: World) -> None:
    world.spawner.refuse = {"web"}
    pushed = world.push()
    world.look(world.finished(pushed.id))
    error = world.deployment(pushed.id).error
    assert error is not None
    assert (error["cause"], error["hint"]) == ("could not be started", "Push again.")
    assert world.live() == []


def test_cancelling_before_the_switch_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HealthyAttempt, "answer", Outcome("refused"))
    pushed = world.push()
    world.look(lambda: world.spawner.containers)
    with world.store.write() as tx:
        deployments.request_cancel(tx, pushed.id)
    world.look(lambda: world.finished(pushed.id)() and not world.live())
    assert world.deployment(pushed.id).state == "cancelled"
    assert world.spawner.containers == {}


def test_scaling_while_a_deployment_runs_reaches_both_releases(world: World) -> None:
    world.look(world.finished(world.push().id))
    second = world.push()
    world.scale(web=3)
    world.look(lambda: world.finished(second.id)() and [i.state for i in world.live()] == ["up"] * 3)
    assert world.up() == ["web.1", "web.2", "web.3"]
    assert {i.release_number for i in world.live()} == {2}


def test_a_crashed_instance_is_started_again_at_once(world: World) -> None:
    world.look(world.finished(world.push().id))
    (first,) = world.live()
    world.spawner.end(first.runtime_id, status=1)
    world.look(lambda: world.up() == ["web.1"] and world.live()[0].id != first.id)
    gone = world.read(lambda tx: instances.get(tx, first.id))
    assert (gone.state, gone.cause, gone.exit["status"]) == ("ended", "exited with status 1", 1)


def test_a_spawner_that_dies_and_comes_back_loses_nothing(world: World) -> None:
    world.look(world.finished(world.push().id))
    before = world.live()
    world.spawner.crash()
    world.scale(web=2)
    world.look()
    assert before[0] in world.live()
    world.spawner.down = False
    world.look(lambda: world.up() == ["web.1", "web.2"])
    assert before[0] in world.live()


def test_a_reboot_brings_everything_back(world: World) -> None:
    world.look(world.finished(world.push().id))
    world.scale(web=2, worker=1)
    world.look(lambda: world.up() == ["web.1", "web.2", "worker.1"])
    before = {i.id for i in world.live()}
    world.spawner.crash()
    world.spawner.containers.clear()
    world.spawner.down = False
    world.restart()
    world.look(lambda: world.up() == ["web.1", "web.2", "worker.1"])
    assert before.isdisjoint({i.id for i in world.live()})
    assert {world.read(lambda tx, id=id: instances.get(tx, id)).cause for id in before} == {"host restart"}


def test_a_container_that_no_row_knows_is_removed(world: World) -> None:
    world.look(world.finished(world.push().id))
    (known,) = world.spawner.containers.values()
    world.spawner.containers["i999"] = type(known)("i999", known.order, known.box)
    world.restart()
    world.look(lambda: set(world.spawner.containers) == {known.id})


def test_a_destroyed_app_is_removed_with_everything(world: World) -> None:
    world.look(world.finished(world.push().id))
    world.spawner.stubborn = False
    world.loop._collector.start()
    with world.store.write() as tx:
        apps.set_destroying(tx, world.app.id)
    world.look(lambda: world.read(lambda tx: apps.by_id(tx, world.app.id)) is None)
    assert world.spawner.containers == {}
    assert world.spawner.removed_apps == [world.app.id]


def test_a_crowd_boots_in_waves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.look(world.finished(world.push().id))
    monkeypatch.setattr(HealthyAttempt, "answer", Outcome("refused"))
    monkeypatch.setattr("paas.converge.loop.MAX_BOOTING", 4)
    world.scale(web=10)
    world.look(lambda: len(world.live()) == 5)
    world.look()
    assert len(world.live()) == 5
    monkeypatch.setattr(HealthyAttempt, "answer", Outcome("answer", Answer(True, 200)))
    world.look(lambda: len(world.up()) == 10)


def test_pokes_wake_the_loop(world: World) -> None:
    world.loop._dirty = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"", str(world.layout.converge_socket))
    world.loop._reactor.turn(1.0)
    assert world.loop._dirty


class Killed(BaseException):
    """In the place of `kill -9`."""


def _count_down(world: World, monkeypatch: pytest.MonkeyPatch, steps: int) -> list[int]:
    """Kill the loop before its (steps+1)th effect: a write transaction or a call that changes the runtime."""
    left = [steps]

    def effect() -> None:
        left[0] -= 1
        if left[0] == -1:
            raise Killed

    write, create, delete, signal = (
        world.store.write,
        world.spawner.create,
        world.spawner.delete,
        world.spawner.signal,
    )

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*args: Any, **options: Any) -> Any:
            effect()
            return call(*args, **options)

        return inner

    for owner, name, call in (
        (world.store, "write", write),
        (world.spawner, "create", create),
        (world.spawner, "delete", delete),
        (world.spawner, "signal", signal),
    ):
        monkeypatch.setattr(owner, name, guarded(call))
    return left


@pytest.mark.parametrize("steps", range(60))
def test_a_kill_before_any_effect_of_a_deployment_is_repaired(
    world: World, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    world.scale(web=2, worker=1)
    world.look(world.finished(world.push().id))
    world.look(lambda: world.up() == ["web.1", "web.2", "worker.1"])
    pushed = world.push(release=True)
    killed = False
    with monkeypatch.context() as patch:
        _count_down(world, patch, steps)
        try:
            _finish_release(world, pushed.id)
        except Killed:
            killed = True
    if killed:
        world.restart()
        _finish_release(world, pushed.id)
    state = world.deployment(pushed.id)
    release = world.fresh_app().release_number
    assert (state.state, release) in (("succeeded", 2), ("failed", 1)), state
    assert world.up() == ["web.1", "web.2", "worker.1"]
    assert {i.release_number for i in world.live()} == {release}
    assert set(world.spawner.containers) == {i.runtime_id for i in world.live()}


def _finish_release(world: World, id: int) -> None:
    """Let the deployment end, its release command too, and everything settle."""

    def settled() -> bool:
        for container in world.spawner.named("release.2"):
            if container.state == "running":
                world.spawner.end(container.id, status=0)
        rows = world.live()
        return (
            world.finished(id)()
            and len(rows) == 3
            and all(i.state == "up" for i in rows)
            and len(world.spawner.containers) == 3
        )

    world.look(settled)
