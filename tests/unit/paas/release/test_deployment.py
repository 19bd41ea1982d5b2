from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.changes import Control, push, rollback, set_config, set_limits
from harness.nouns import make_image

from paas.converge.world import read_world
from paas.nouns.errors import BadInput, Cancelled, Conflict, DeployFailed, NotFound
from paas.nouns.model import App, Deployment, Release
from paas.release.change import Change, rollback_target
from paas.release.deployment import follow, open_deployment, restart
from paas.store import apps, builds, configs, deployments, formations, images, instances, releases
from paas.store.releases import CONFIGS_SHOWN


class Shop(Control):
    """A store with one app."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with self.store.write() as tx:
            self.app: App = apps.create(tx, "hello", None)

    def image(self, number: int, manifest: dict[str, Any] | None = None, **processes: str) -> str:
        digest = f"sha256:{number:064x}"
        with self.store.write() as tx:
            made = make_image(
                app_id=self.app.id,
                digest=digest,
                layers=(digest,),
                processes=processes or {"web": "x"},
                manifest=manifest or {},
            )
            images.add(tx, made)
        return digest

    def open(self, change: Change, **options: Any) -> tuple[Release, Deployment | None]:
        return open_deployment(self, self.app.id, change, **{"wait_s": 0, **options})

    def finish(
        self, deployment: Deployment | None, *states: str, error: dict[str, Any] | None = None
    ) -> None:
        assert deployment is not None
        with self.store.write() as tx:
            for state in states or ("starting", "switching", "draining", "succeeded"):
                deployments.advance(tx, deployment.id, state, error)

    def deploy(self, change: Change) -> Release:
        release, deployment = self.open(change)
        if deployment is not None:
            self.finish(deployment)
        return release

    def vars(self) -> dict[str, str]:
        with self.store.read() as tx:
            return configs.of(tx, releases.serving(tx, apps.get(tx, self.app.id)))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.store.close()


def test_config_before_the_first_push_is_a_release_without_deployment(shop: Shop) -> None:
    release, deployment = shop.open(set_config(set_vars={"A": "1"}))
    assert (release.number, release.state, release.image_digest, deployment) == (1, "succeeded", None, None)
    first, started = shop.open(push(image_digest=shop.image(1), commit="c" * 40))
    assert started is not None
    assert (first.number, first.config_number, first.state) == (2, release.config_number, "pending")
    assert started.from_release is None, "nothing ran before"
    assert shop.pokes == 2


def test_every_change_keeps_what_it_does_not_name(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1), commit="c" * 40, set_vars={"A": "1", "B": "2"}))
    changed = shop.deploy(set_config(set_vars={"C": "3"}, unset_vars=("A",)))
    assert shop.vars() == {"B": "2", "C": "3"}
    assert (changed.image_digest, changed.commit) == (f"sha256:{1:064x}", "c" * 40)
    limited = shop.deploy(set_limits(limits={"web": {"pids": 9}}))
    assert (limited.config_number, limited.limits) == (changed.config_number, {"web": {"pids": 9}})


def test_a_failed_change_is_not_the_base_of_the_next(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1), set_vars={"A": "1"}))
    _, deployment = shop.open(
        push(image_digest=f"sha256:{1:064x}", set_vars={"A": "bad"}, limits={"web": {"pids": 4}})
    )
    shop.finish(deployment, "starting", "failed")
    assert shop.vars() == {"A": "1"}
    with shop.store.read() as tx:
        assert formations.of_app(tx, shop.app.id)["web"].limits == {}
    good = shop.deploy(set_config(set_vars={"B": "2"}))
    assert (good.number, shop.vars(), good.limits) == (3, {"A": "1", "B": "2"}, {})


def test_the_first_image_brings_the_formation(shop: Shop) -> None:
    manifest = {"formation": {"worker": {"quantity": 2}}}
    shop.deploy(push(image_digest=shop.image(1, manifest, web="a", worker="b", clock="c", release="d")))
    with shop.store.read() as tx:
        counts = {kind: entry.quantity for kind, entry in formations.of_app(tx, shop.app.id).items()}
    assert counts == {"web": 1, "worker": 2, "clock": 0}


def test_a_push_keeps_the_scale_and_starts_again_what_was_stopped(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1)))
    with shop.store.write() as tx:
        formations.set_quantity(tx, shop.app.id, "web", 3)
        formations.set_stopped(tx, shop.app.id, "web", True)
    shop.deploy(set_config(set_vars={"A": "1"}))
    with shop.store.read() as tx:
        assert formations.of_app(tx, shop.app.id)["web"].stopped
    shop.deploy(push(image_digest=shop.image(2)))
    with shop.store.read() as tx:
        entry = formations.of_app(tx, shop.app.id)["web"]
    assert (entry.quantity, entry.stopped) == (3, False)


def test_rollback_is_a_new_release_with_the_old_image_and_config(shop: Shop) -> None:
    first = shop.deploy(push(image_digest=shop.image(1), commit="1" * 40, set_vars={"A": "1"}))
    shop.deploy(push(image_digest=shop.image(2), commit="2" * 40, set_vars={"A": "2"}))
    back = shop.deploy(rollback(to=1))
    assert (back.number, back.image_digest, back.commit) == (3, first.image_digest, "1" * 40)
    assert shop.vars() == {"A": "1"}


def test_rollback_takes_limits_back_and_leaves_counts(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1), limits={"web": {"pids": 50}}))
    shop.deploy(set_limits(limits={"web": {"pids": 90}, "run": {"pids": 60}}))
    with shop.store.write() as tx:
        formations.set_quantity(tx, shop.app.id, "web", 3)
    back = shop.deploy(rollback(to=1))
    assert back.limits == {"web": {"pids": 50}}
    with shop.store.read() as tx:
        entries = formations.of_app(tx, shop.app.id)
    assert (entries["web"].quantity, entries["web"].limits, entries["run"].limits) == (3, {"pids": 50}, {})
    assert shop.deploy(rollback(to=2)).limits == {"web": {"pids": 90}, "run": {"pids": 60}}


@pytest.mark.parametrize("end", ["failed", "cancelled"])
@pytest.mark.parametrize("configured", [True, False])
def test_nothing_of_a_first_push_that_ends_otherwise_stays(shop: Shop, end: str, configured: bool) -> None:
    if configured:
        shop.deploy(set_config(set_vars={"MINE": "1"}))
    first = push(
        image_digest=shop.image(1, {"formation": {"web": {"quantity": 3}}}, web="a", worker="b", release="c"),
        set_vars={"MODE": "broken"},
        limits={"web": {"pids": 50}},
    )
    for _ in range(CONFIGS_SHOWN + 2):
        _, deployment = shop.open(first)
        shop.finish(deployment, "releasing", end)
    with shop.store.read() as tx:
        assert formations.of_app(tx, shop.app.id) == {}
    assert shop.vars() == ({"MINE": "1"} if configured else {})
    good = shop.deploy(push(image_digest=shop.image(2), set_vars={"MODE": "good"}))
    assert shop.vars() == {**({"MINE": "1"} if configured else {}), "MODE": "good"}
    with shop.store.read() as tx:
        entries = formations.of_app(tx, shop.app.id)
    assert {kind: entry.quantity for kind, entry in entries.items()} == {"web": 1}
    assert good.limits == {}


def test_a_type_that_a_failed_push_brought_is_forgotten_and_one_that_served_is_not(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1, web="a", clock="b"), limits={"run": {"pids": 60}}))
    with shop.store.write() as tx:
        formations.set_quantity(tx, shop.app.id, "clock", 2)
    shop.deploy(push(image_digest=shop.image(2, web="a")))
    wish = {"formation": {"worker": {"quantity": 5}}}
    _, deployment = shop.open(push(image_digest=shop.image(3, wish, web="a", worker="b")))
    shop.finish(deployment, "starting", "failed")
    with shop.store.read() as tx:
        entries = formations.of_app(tx, shop.app.id)
    assert {kind: entry.quantity for kind, entry in entries.items()} == {"web": 1, "clock": 2, "run": 0}
    assert entries["run"].limits == {"pids": 60}


def test_rollback_skips_failed_releases_and_refuses_what_never_ran(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1)))
    _, failed = shop.open(push(image_digest=shop.image(2)))
    shop.finish(failed, "starting", "failed")
    shop.deploy(push(image_digest=shop.image(3)))
    with shop.store.read() as tx:
        app = apps.get(tx, shop.app.id)
        assert rollback_target(tx, app, None).number == 1
        with pytest.raises(BadInput, match="v2 never ran"):
            rollback_target(tx, app, 2)
        with pytest.raises(NotFound, match="no release v9"):
            rollback_target(tx, app, 9)


def test_rollback_without_an_earlier_release_says_so(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1)))
    with shop.store.read() as tx, pytest.raises(BadInput, match="no earlier release"):
        rollback_target(tx, apps.get(tx, shop.app.id), None)


def test_a_second_deployment_waits_and_hears_for_whom(shop: Shop) -> None:
    first_push = push(image_digest=shop.image(1), actor="ann", description="Deploy 1111111")
    _, first = shop.open(first_push)
    told: list[str] = []
    with pytest.raises(Conflict, match=r"ann is deploying v1 \(Deploy 1111111\)"):
        shop.open(set_config(set_vars={"A": "1"}))
    timer = threading.Timer(0.2, lambda: shop.finish(first))
    timer.start()
    release, _ = shop.open(set_config(set_vars={"A": "1"}), wait_s=10, on_wait=told.append)
    timer.join()
    assert (release.number, len(told)) == (2, 1)


def test_waiting_for_ones_turn_can_be_cancelled(shop: Shop) -> None:
    shop.open(push(image_digest=shop.image(1)))
    with pytest.raises(Cancelled):
        shop.open(set_config(set_vars={"A": "1"}), wait_s=60, cancelled=lambda: True)
    assert shop.vars() == {}


def test_changes_made_at_once_are_all_kept(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1)))

    def change(n: int) -> None:
        _, deployment = shop.open(set_config(set_vars={f"N{n}": str(n)}), wait_s=30)
        shop.finish(deployment)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shop.vars() == {f"N{n}": str(n) for n in range(5)}


def test_following_gives_every_line_and_ends_with_success(shop: Shop) -> None:
    _, deployment = shop.open(push(image_digest=shop.image(1)))
    assert deployment is not None

    def work() -> None:
        for n in range(3):
            with shop.store.write() as tx:
                deployments.add_line(tx, deployment.id, f"line {n}")
            time.sleep(0.05)
        shop.finish(deployment)

    thread = threading.Thread(target=work)
    thread.start()
    assert list(follow(shop, deployment.id)) == ["line 0", "line 1", "line 2"]
    thread.join()


def test_following_a_failure_raises_its_diagnosis(shop: Shop) -> None:
    _, deployment = shop.open(push(image_digest=shop.image(1)))
    diagnosis = DeployFailed("web.1 exited.", "Look.", cause="exited with status 1", lines=("bye",))
    shop.finish(deployment, "failed", error=diagnosis.to_json())
    assert deployment is not None
    with pytest.raises(DeployFailed) as caught:
        list(follow(shop, deployment.id))
    assert caught.value.to_json() == diagnosis.to_json()


def test_a_listener_that_leaves_asks_for_the_cancel_and_hears_the_end(shop: Shop) -> None:
    _, deployment = shop.open(push(image_digest=shop.image(1)))
    assert deployment is not None

    def converge() -> None:
        while True:
            with shop.store.read() as tx:
                if deployments.get(tx, deployment.id).cancel_requested:
                    break
            time.sleep(0.01)
        shop.finish(deployment, "cancelled", error=Cancelled("Cancelled.", cause="cancelled").to_json())

    thread = threading.Thread(target=converge)
    thread.start()
    with pytest.raises(Cancelled):
        list(follow(shop, deployment.id, cancelled=lambda: True))
    thread.join()


def test_a_cancel_after_the_end_changes_nothing(shop: Shop) -> None:
    _, deployment = shop.open(push(image_digest=shop.image(1)))
    shop.finish(deployment)
    assert deployment is not None
    with shop.store.write() as tx:
        deployments.request_cancel(tx, deployment.id)
    assert list(follow(shop, deployment.id)) == []


def test_more_memory_than_the_machine_has_does_not_fit(shop: Shop) -> None:
    shop.deploy(push(image_digest=shop.image(1)))
    with pytest.raises(
        BadInput, match=r"web does not fit: it asks for 1048576.0 GiB of memory, this machine has"
    ):
        shop.open(set_limits(limits={"web": {"memory_bytes": 1 << 50}}))
    assert shop.deploy(set_config(set_vars={"A": "1"})).limits == {}


def test_an_app_that_is_gone_cannot_be_deployed(shop: Shop) -> None:
    with shop.store.write() as tx:
        apps.set_destroying(tx, shop.app.id)
    with pytest.raises(NotFound):
        shop.open(set_config(set_vars={"A": "1"}))


def test_another_apps_image_is_refused(shop: Shop) -> None:
    with pytest.raises(BadInput):
        shop.open(push(image_digest="sha256:" + "f" * 64))


def test_a_restart_of_one_instance_spares_the_others(shop: Shop) -> None:
    with shop.store.write() as tx:
        for number in (1, 2):
            instances.create(tx, shop.app.id, kind="process", type="web", number=number, release_number=1)
        instances.create(tx, shop.app.id, kind="process", type="worker", number=1, release_number=1)
    token = restart(shop, shop.app.id, actor="me", type="web", number=2)
    with shop.store.read() as tx:
        stale = [i.name for i in instances.live_of(tx, shop.app.id) if i.restart_token < token]
        assert apps.get(tx, shop.app.id).restart_token == token
        assert releases.of_app(tx, shop.app.id) == []
    assert stale == ["web.2"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [(("one", "two"), ()), (("one",), ("one", "two")), ((), ("one", "two"))],
    ids=["all was told", "some was told", "nothing was told"],
)
def test_evidence_is_told_once(shop: Shop, said: tuple[str, ...], kept: tuple[str, ...]) -> None:
    """What a release command prints is seen while it runs, and not again below the failure."""
    _, deployment = shop.open(push(image_digest=shop.image(1)))
    assert deployment is not None
    with shop.store.write() as tx:
        for line in said:
            deployments.add_line(tx, deployment.id, f"       {line}")
    error = DeployFailed("It failed.", "Its last output is below.", cause="failed", lines=("one", "two"))
    shop.finish(deployment, "failed", error=error.to_json())
    with pytest.raises(DeployFailed) as caught:
        list(follow(shop, deployment.id))
    assert caught.value.lines == kept
    assert caught.value.hint == f"Its last output is {'below' if kept else 'above'}."


def test_a_push_began_with_its_build_and_a_promotion_with_itself(shop: Shop) -> None:
    with shop.store.write() as tx:
        build = builds.start(tx, shop.app.id, commit="c" * 40, tree="t" * 40, actor="me", holder="x")
        builds.finish(tx, shop.app.id, build.number, "succeeded", image_digest=f"sha256:{1:064x}")
        tx.execute("UPDATE build SET started_at = started_at - 50")
    _, pushed = shop.open(push(image_digest=shop.image(1)))
    assert pushed is not None
    with shop.store.write() as tx:
        assert read_world(tx, "localhost")[0].began_at == build.started_at - 50
        tx.execute("UPDATE release SET created_at = created_at - 40")
        assert read_world(tx, "localhost")[0].began_at == pushed.created_at
