"""Performing single actions: what each leaves in the rows, with the spawner and in the app's log, also when it is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.changes import Control
from harness.fake_runtime import FakeSpawner
from harness.nouns import make_image

from paas import logs
from paas.converge.act import Actions, described
from paas.converge.health import boot_check
from paas.converge.link import Link, SpawnerDown
from paas.converge.plan import Advance, Drain, Fail, Kill, MarkUp, Reap, RemoveApp, Start, Stop, Terminate
from paas.nouns.errors import DeployFailed
from paas.nouns.model import Deployment, Instance
from paas.nouns.startup import STARTUP, Startup
from paas.store import apps, deployments, events, formations, images, instances, releases
from runtime.reactor import Reactor


class Scene(Control):
    """An app with release 1, not yet serving, and the actions that a loop would take."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spawner, self.reactor = FakeSpawner(), Reactor()
        self.link = Link(self.reactor, self.spawner, lambda: None)
        self.removed: list[str] = []
        self.actions = Actions(
            self.store, self.link, self.layout, release_timeout_s=60.0, remove_app=self.removed.append
        )
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None)
            image = make_image(app_id=self.app.id, processes={"web": "serve", "release": "migrate"})
            images.add(tx, replace(image, layers=("sha256:" + "a" * 64,)))
            formations.ensure(tx, self.app.id, "web", 1)
            release = releases.create(
                tx, self.app.id, image_digest=image.digest, config_number=0, limits={},
                description="Deploy", commit=None, actor="me",
            )  # fmt: skip
            self.deployment = deployments.create(
                tx, self.app.id, release_number=release.number, from_release=None
            )
        (self.layout.logs / self.app.id).mkdir(parents=True)
        assert self.link.refresh()

    def start(self, type: str = "web", kind: str = "process", number: int = 1, release: int = 1) -> Instance:
        self.actions.perform(Start(self.app.id, kind, type, number, release, self.deployment.id))
        with self.store.read() as tx:
            return instances.live_of(tx, self.app.id)[-1]

    def row(self, instance: Instance) -> Instance:
        with self.store.read() as tx:
            return instances.get(tx, instance.id)

    def ended(self, instance: Instance, *, status: int) -> Instance:
        """The row after its container has ended by itself and has been reaped."""
        self.spawner.end(instance.runtime_id, status=status)
        self.reactor.turn(1.0)
        assert self.link.refresh()
        self.actions.perform(Reap(instance.id))
        return self.row(instance)

    def said(self) -> list[str]:
        """The lines of the app's log, without their times."""
        found = logs.tail(self.layout, self.app.id, logs.Query(), 100)
        return [line.decode().partition(" ")[2] for line in found]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        with self.store.read() as tx:
            return [(event.verb, event.detail) for event in events.after(tx, 0)]

    def deployed(self, *states: str) -> Deployment:
        for state in states:
            self.actions.perform(Advance(self.deployment.id, state))
        with self.store.read() as tx:
            return deployments.get(tx, self.deployment.id)

    def close(self) -> None:
        self.link.close()
        self.reactor.close()
        self.spawner.close()
        self.store.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def failure(cause: str = "never listened") -> DeployFailed:
    return DeployFailed("web.1 opened no port.", "Listen on $PORT.", cause=cause)


def test_a_start_is_a_row_then_a_container_with_its_address(scene: Scene) -> None:
    row = scene.start()
    (container,) = scene.spawner.named("web.1")
    assert (row.state, row.runtime_id, row.address, row.port) == (
        "starting",
        container.id,
        container.address,
        5000,
    )
    assert (row.release_number, row.deployment_id) == (1, scene.deployment.id)
    assert scene.link.containers == {row.runtime_id: "running"}
    assert scene.said() == ["paas[web.1]: Starting process with command `serve`"]


def test_a_release_command_has_a_bound_on_its_time_and_no_port(scene: Scene) -> None:
    row = scene.start("release", "release")
    (container,) = scene.spawner.named("release.1")
    assert container.box.resources.wall_s == 60.0
    assert row.port is None


@pytest.mark.parametrize(("type", "release"), [("worker", 1), ("web", 7)])
def test_what_the_rows_no_longer_have_is_not_started(scene: Scene, type: str, release: int) -> None:
    scene.actions.perform(Start(scene.app.id, "process", type, 1, release))
    scene.actions.perform(Start("a-gone", "process", "web", 1, 1))
    with scene.store.read() as tx:
        assert instances.live(tx) == []
    assert scene.spawner.created == [] and scene.said() == []


def test_a_start_that_the_runtime_refuses_ends_its_row_with_the_reason(scene: Scene) -> None:
    scene.spawner.refuse = {"web"}
    scene.actions.perform(Start(scene.app.id, "process", "web", 1, 1))
    with scene.store.read() as tx:
        (row,) = instances.recent_of_slot(tx, scene.app.id, "web", 1)
    assert (row.state, row.cause, row.detail["diagnosis"]["hint"]) == (
        "ended",
        "could not be started",
        "Push again.",
    )
    assert scene.said()[-1] == "paas[web.1]: web.1 could not be started: a layer is missing"


def test_a_start_while_the_spawner_is_away_leaves_the_row_for_the_next_loop(scene: Scene) -> None:
    scene.spawner.down = True
    with pytest.raises(SpawnerDown):
        scene.actions.perform(Start(scene.app.id, "process", "web", 1, 1))
    with scene.store.read() as tx:
        (row,) = instances.live_of(tx, scene.app.id)
    assert (row.state, row.address) == ("starting", None)


def test_one_that_came_up_is_told_to_its_deployment(scene: Scene) -> None:
    row = scene.start()
    scene.actions.perform(MarkUp(row.id, "it answered 500"))
    assert scene.row(row).state == "up"
    with scene.store.read() as tx:
        first, second = (text for _, text in deployments.lines(tx, scene.deployment.id))
    assert first.startswith("       web.1 up (healthy after ")
    assert second == " !     web.1: it answered 500"
    assert scene.said()[-2:] == [
        "paas[web.1]: State changed from starting to up",
        "paas[web.1]: Warning: it answered 500",
    ]


def test_one_that_comes_up_after_its_deployment_has_ended_is_told_to_nobody(scene: Scene) -> None:
    row = scene.start()
    scene.deployed("failed")
    scene.actions.perform(MarkUp(row.id))
    with scene.store.read() as tx:
        assert deployments.lines(tx, scene.deployment.id) == []


@pytest.mark.parametrize(
    ("cause", "code"), [("never listened", "Error R10 (Boot timeout): "), ("crash loop", "")]
)
def test_a_failed_boot_is_killed_with_its_diagnosis(scene: Scene, cause: str, code: str) -> None:
    row = scene.start()
    scene.actions.perform(Fail(row.id, failure(cause)))
    now = scene.row(row)
    assert (now.state, now.detail["diagnosis"]["cause"]) == ("stopping", cause)
    assert scene.spawner.containers[row.runtime_id].state == "exited"
    assert scene.actions.signalled == {row.id}
    assert scene.said()[1:] == [
        f"paas[web.1]: {code}web.1 opened no port.",
        "paas[web.1]: State changed from starting to crashed",
    ]


def test_a_stop_is_a_row_and_the_signal_follows_it(scene: Scene) -> None:
    row = scene.start()
    scene.actions.perform(MarkUp(row.id))
    scene.actions.perform(Drain(row.id))
    assert scene.row(row).state == "draining"
    scene.actions.perform(Stop(row.id, "scaled down"))
    assert (scene.row(row).state, scene.spawner.containers[row.runtime_id].signals) == ("stopping", [])
    scene.actions.perform(Terminate(row.id))
    assert scene.spawner.containers[row.runtime_id].signals == ["TERM"]
    assert scene.said()[-1] == "paas[web.1]: Stopping all processes with SIGTERM"
    assert scene.ended(row, status=143).cause == "scaled down"
    assert scene.said()[-1] == "paas[web.1]: State changed from stopping to stopped"


def test_a_kill_that_is_repeated_is_said_once(scene: Scene) -> None:
    row = scene.start()
    scene.actions.perform(Stop(row.id))
    for _ in range(3):
        scene.actions.perform(Kill(row.id))
    assert [line for line in scene.said() if "R12" in line] == [
        "paas[web.1]: Error R12 (Exit timeout): did not stop in time, killed with SIGKILL"
    ]


def test_one_that_ends_by_itself_is_a_crash_with_an_event(scene: Scene) -> None:
    row = scene.start()
    scene.actions.perform(MarkUp(row.id))
    now = scene.ended(row, status=3)
    assert (now.state, now.cause, now.exit and now.exit["status"]) == ("ended", "exited with status 3", 3)
    assert scene.events() == [("instance.crash", {"instance": "web.1", "cause": "exited with status 3"})]
    assert scene.said()[-2:] == [
        "paas[web.1]: Process exited with status 3",
        "paas[web.1]: State changed from up to crashed (exited with status 3)",
    ]
    assert scene.spawner.containers == {} and scene.link.containers == {}


def test_the_diagnosis_of_a_failed_boot_outlives_its_exit(scene: Scene) -> None:
    row = scene.start()
    scene.actions.perform(Fail(row.id, failure()))
    now = scene.ended(row, status=0)
    assert (now.cause, now.detail["diagnosis"]["message"]) == ("never listened", "web.1 opened no port.")
    assert scene.actions.signalled == set()
    assert scene.events() == []


def test_a_release_command_that_did_its_work_is_no_crash(scene: Scene) -> None:
    row = scene.ended(scene.start("release", "release"), status=0)
    assert (row.cause, row.detail, scene.events()) == ("", {}, [])
    row = scene.ended(scene.start("release", "release"), status=4)
    assert row.detail["diagnosis"]["message"].startswith("The release command exited with status 4")
    assert scene.events() == [], "the deployment's end is the event"


def test_a_container_that_is_gone_was_lost_with_the_host(scene: Scene) -> None:
    row = scene.start()
    scene.spawner.containers.clear()
    scene.actions.perform(Reap(row.id, lost=True))
    now = scene.row(row)
    assert (now.state, now.cause, now.exit, now.detail["why"]) == (
        "ended",
        "host restart",
        None,
        "host restart",
    )
    assert scene.events() == []


def test_the_last_lines_are_the_apps_own_and_of_that_instance(scene: Scene) -> None:
    row = scene.start()
    folder = scene.layout.logs / scene.app.id
    stamp = logs.stamp(0.0)
    (folder / f"{row.runtime_id}.0.log").write_text(
        f"{stamp} app[web.1]: one: two\n{stamp} app[web.1]: {'x' * 900}\n"
    )
    (folder / "i999.0.log").write_text(f"{stamp} app[web.9]: another\n")
    assert scene.actions.last_lines(row) == ("one: two", "x" * 500)


def test_the_commit_point_is_an_event_and_a_line(scene: Scene) -> None:
    done = scene.deployed("starting", "switching", "draining")
    assert done.state == "draining"
    assert scene.events() == [("release.succeeded", {"release": 1, "cause": ""})]
    assert scene.said() == ["paas[deploy]: Release v1 serves"]


def test_a_failed_deployment_says_why_in_the_log_and_the_event(scene: Scene) -> None:
    scene.actions.perform(Advance(scene.deployment.id, "failed", ("last words",), failure().to_json()))
    assert scene.events() == [("release.failed", {"release": 1, "cause": "never listened"})]
    assert scene.said() == ["paas[deploy]: Release v1 failed: web.1 opened no port."]
    with scene.store.read() as tx:
        assert [text for _, text in deployments.lines(tx, scene.deployment.id)] == ["last words"]


def test_an_action_that_something_else_overtook_is_dropped(scene: Scene) -> None:
    row = scene.start()
    scene.actions.perform(MarkUp(row.id))
    said = scene.said()
    scene.actions.perform(MarkUp(row.id))
    scene.deployed("failed", "succeeded")
    assert (scene.row(row).state, scene.deployed().state) == ("up", "failed")
    assert scene.said() == [*said, "paas[deploy]: Release v1 failed: "]


def test_addresses_of_adopted_containers_reach_their_rows(scene: Scene) -> None:
    web, release = scene.start(), scene.start("release", "release")
    assert scene.actions.take_addresses({}) == 0
    assert scene.actions.take_addresses({web.id: "10.0.0.8", release.id: "10.0.0.9"}) == 2
    assert (scene.row(web).address, scene.row(web).port) == ("10.0.0.8", 5000)
    assert (scene.row(release).address, scene.row(release).port) == ("10.0.0.9", None)


def test_a_container_without_a_row_is_removed(scene: Scene) -> None:
    row = scene.start()
    scene.actions.remove_orphan(row.runtime_id)
    assert scene.spawner.containers == {} and scene.link.containers == {}
    scene.spawner.down = True
    with pytest.raises(SpawnerDown):
        scene.actions.remove_orphan("i9")


def test_a_destroyed_app_goes_to_who_removes_it(scene: Scene) -> None:
    scene.actions.perform(RemoveApp(scene.app.id))
    assert scene.removed == [scene.app.id]


def test_the_operators_log_has_no_word_of_an_app() -> None:
    secret = DeployFailed("SECRET", "SECRET", cause="exited with status 1", lines=("SECRET",))
    actions = [
        Fail(7, secret),
        MarkUp(7, "SECRET"),
        Advance(3, "failed", ("SECRET",), secret.to_json()),
    ]
    assert [described(action) for action in actions] == [
        "fail id=7 cause='exited with status 1'",
        "markup id=7",
        "advance deployment_id=3 state=failed cause='exited with status 1'",
    ]


def test_an_image_may_have_a_port_and_a_signal_of_its_own(scene: Scene) -> None:
    startup = Startup(args=("serve",), port=8080, stop_signal="QUIT")
    image = make_image(
        app_id=scene.app.id,
        digest="sha256:other",
        layers=("sha256:" + "a" * 64,),
        manifest={STARTUP: startup.to_json()},
    )
    with scene.store.write() as tx:
        images.add(tx, image)
        release = releases.create(
            tx, scene.app.id, image_digest=image.digest, config_number=0, limits={},
            description="Deploy image", commit=None, actor="me",
        )  # fmt: skip
    instance = scene.start(release=release.number)
    assert instance.port == 8080
    container = scene.spawner.containers[instance.runtime_id]
    assert container.box.process.env["PORT"] == "8080"
    scene.actions.take_addresses({instance.id: "127.0.0.9"})
    assert (scene.row(instance).address, scene.row(instance).port) == ("127.0.0.9", 8080)
    scene.actions.perform(Stop(instance.id, "scale"))
    scene.actions.perform(Terminate(instance.id))
    assert container.signals == ["QUIT"]
    assert "paas[web.1]: Stopping all processes with SIGQUIT" in scene.said()
    assert [boot_check(image, "web", pushed=pushed).port for pushed in (False, True)] == [8080, 8080]
