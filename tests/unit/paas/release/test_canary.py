"""Which release may be a canary, what its row says, and what keeps and ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.changes import Control, promote, push, set_config
from harness.nouns import make_image

from paas.converge.prune import kept_releases
from paas.nouns.errors import BadInput, Conflict, DeployFailed, NotFound, PaasError
from paas.nouns.model import App, Canary
from paas.release.canary import begin, begin_pushed, check_beside, come_up, follow
from paas.release.deployment import open_deployment, restart
from paas.store import apps, canaries, deployments, events, formations, images, instances, releases


class Shop(Control):
    """An app with releases v1 and v2, of which v2 serves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with self.store.write() as tx:
            self.id = apps.create(tx, "hello", None).id
        self.release("sha256:1")
        self.release("sha256:2")

    @property
    def app(self) -> App:
        with self.store.read() as tx:
            return apps.get(tx, self.id)

    def release(self, digest: str, *, state: str = "succeeded", **processes: str) -> int:
        with self.store.write() as tx:
            named = processes or {"web": "serve"}
            images.add(tx, make_image(app_id=self.id, digest=digest, layers=(), processes=named))
            formations.ensure(tx, self.id, "web", 1)
            made = releases.create(
                tx, self.id, image_digest=digest, config_number=0, limits={}, description="Deploy", commit=None,
                actor="me", state=state,
            )  # fmt: skip
            if state == "succeeded":
                apps.set_release(tx, self.id, made.number)
        return made.number

    def begin(self, number: int, **changes: Any) -> Canary:
        asked = {"share": None, "quantity": None, **changes}
        with self.store.write() as tx:
            return begin(tx, apps.get(tx, self.id), number, actor="me", **asked)

    def canary(self) -> Canary | None:
        with self.store.read() as tx:
            return canaries.of_app(tx, self.id)

    def push(self, digest: str = "sha256:p") -> Canary:
        """As `git push -o canary=25` does, after the build."""
        with self.store.write() as tx:
            images.add(
                tx,
                make_image(app_id=self.id, digest=digest, layers=(), processes={"web": "serve", "job": "x"}),
            )
            change = push(image_digest=digest, commit="c" * 40, beside=True)
            _, canary = begin_pushed(tx, apps.get(tx, self.id), change, share=25)
        return canary

    def state_of(self, number: int) -> str:
        with self.store.read() as tx:
            release = releases.get(tx, self.id, number)
        assert release is not None
        return release.state

    def promote(self, number: int) -> int:
        change = promote(to=number)
        _, made = open_deployment(self, self.id, change, wait_s=0)
        assert made is not None
        return made.id

    def advance(self, id: int, *states: str) -> None:
        with self.store.write() as tx:
            for state in states:
                deployments.advance(tx, id, state)

    def instance(self, number: int = 1, *, canary: bool = True, release: int = 1) -> int:
        with self.store.write() as tx:
            return instances.create(
                tx, self.id, kind="process", type="web", number=number, release_number=release, canary=canary
            ).id


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.store.close()


def test_a_canary_begins_small_and_keeps_what_is_not_changed(shop: Shop) -> None:
    first = shop.begin(1)
    assert (first.release_number, first.share, first.quantity) == (1, 10, 1)
    more = shop.begin(1, share=0, quantity=3)
    assert (more.share, more.quantity, more.created_at) == (0, 3, first.created_at)
    assert shop.begin(1, share=100).quantity == 3
    with shop.store.read() as tx:
        assert [e.detail["share"] for e in events.after(tx, 0) if e.verb == "canary.set"] == [10, 0, 100]


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (2, BadInput, "serves already"),
        (9, NotFound, "no release v9"),
        (3, BadInput, "never ran"),
        (4, BadInput, "no web process"),
        (5, BadInput, "process type named canary"),
    ],
)
def test_what_cannot_be_a_canary(shop: Shop, number: int, error: type[PaasError], words: str) -> None:
    shop.release("sha256:3", state="failed")
    shop.release("sha256:4", worker="work")
    shop.release("sha256:5", web="serve", canary="sing")
    with shop.store.write() as tx:
        apps.set_release(tx, shop.id, 2)
    with pytest.raises(error, match=words):
        shop.begin(number)
    assert shop.canary() is None


def test_there_is_one_canary_at_a_time(shop: Shop) -> None:
    shop.release("sha256:3")
    shop.begin(1)
    with pytest.raises(Conflict, match="v1 is the canary of hello already"):
        shop.begin(2)


def test_no_canary_begins_during_a_deployment_but_a_running_one_can_be_changed(shop: Shop) -> None:
    shop.begin(1)
    shop.promote(1)
    assert shop.begin(1, share=20).share == 20
    with shop.store.write() as tx:
        canaries.end(tx, shop.id, actor="me", why="stopped")
    with pytest.raises(Conflict, match="me is deploying v3"):
        shop.begin(1)


@pytest.mark.parametrize("quantity", [0, 1])
def test_no_canary_begins_beside_nothing(shop: Shop, quantity: int) -> None:
    with shop.store.write() as tx:
        formations.set_quantity(tx, shop.id, "web", quantity)
        formations.set_stopped(tx, shop.id, "web", True)
    with pytest.raises(Conflict, match="runs no web process"):
        shop.begin(1)


def test_the_canary_ends_when_a_deployment_commits_and_not_before(shop: Shop) -> None:
    shop.begin(1)
    id = shop.promote(1)
    shop.advance(id, "starting", "switching")
    assert shop.canary() is not None
    shop.advance(id, "draining", "succeeded")
    assert shop.canary() is None and shop.app.release_number == 3
    shop.begin(2)
    shop.advance(shop.promote(2), "starting", "failed")
    assert shop.canary() is not None


def test_only_what_is_the_canary_can_be_promoted(shop: Shop) -> None:
    with pytest.raises(Conflict, match="v1 is no longer the canary"):
        shop.promote(1)


def test_a_pushed_canary_is_a_release_that_has_never_served(shop: Shop) -> None:
    with shop.store.write() as tx:
        formations.set_quantity(tx, shop.id, "job", 1)
        formations.set_stopped(tx, shop.id, "job", True)
    canary = shop.push()
    assert (canary.release_number, canary.share, canary.quantity) == (3, 25, 1)
    assert (shop.state_of(3), shop.app.release_number) == ("pending", 2)
    with shop.store.read() as tx:
        assert formations.of_app(tx, shop.id)["job"].stopped
        assert deployments.unfinished_of(tx, shop.id) is None
    with pytest.raises(Conflict, match="v3 is the canary"):
        shop.push("sha256:q")


def test_a_pushed_canary_that_is_stopped_is_cancelled(shop: Shop) -> None:
    shop.push()
    with shop.store.write() as tx:
        canaries.end(tx, shop.id, actor="me", why="stopped")
    assert shop.state_of(3) == "cancelled"
    with pytest.raises(BadInput, match=r"v3 never ran \(cancelled\)"):
        shop.begin(3)


def test_a_pushed_canary_is_promoted_as_itself_and_the_branch_follows(shop: Shop) -> None:
    shop.push()
    id = shop.promote(3)
    with shop.store.read() as tx:
        assert deployments.get(tx, id).push
        assert deployments.pushed_commit(tx, shop.id) is None
    shop.advance(id, "starting", "failed")
    assert (shop.canary() is not None, shop.state_of(3)) == (True, "pending")
    shop.advance(shop.promote(3), "starting", "switching", "draining", "succeeded")
    assert (shop.canary(), shop.state_of(3), shop.app.release_number) == (None, "succeeded", 3)
    with shop.store.read() as tx:
        assert deployments.pushed_commit(tx, shop.id) == "c" * 40


def test_a_deployment_cancels_a_pushed_canary(shop: Shop) -> None:
    shop.push()
    change = set_config(set_vars={"A": "1"})
    _, made = open_deployment(shop, shop.id, change, wait_s=0)
    assert made is not None and made.release_number == 4
    shop.advance(made.id, "starting", "switching", "draining", "succeeded")
    assert (shop.canary(), shop.state_of(3), shop.state_of(4)) == (None, "cancelled", "succeeded")


def test_the_image_of_a_canary_is_kept(shop: Shop) -> None:
    with shop.store.read() as tx:
        history = releases.of_app(tx, shop.id)

    def kept(canary: int | None) -> set[str | None]:
        return {release.image_digest for release in kept_releases(history, 2, 1, canary)}

    assert kept(None) == {"sha256:2"}
    assert kept(1) == {"sha256:1", "sha256:2"}


def test_restarting_web_1_spares_canary_1(shop: Shop) -> None:
    main, beside = shop.instance(canary=False, release=2), shop.instance()
    restart(shop, shop.id, actor="me", type="web", number=1)
    with shop.store.read() as tx:
        assert [instances.get(tx, id).restart_token for id in (main, beside)] == [0, 1]
    restart(shop, shop.id, actor="me", type="web")
    with shop.store.read() as tx:
        assert [instances.get(tx, id).restart_token for id in (main, beside)] == [0, 1]


def test_who_follows_a_canary_hears_of_each_instance(shop: Shop) -> None:
    since = time.time()
    canary = shop.begin(1, quantity=2)
    lines: list[str] = []
    thread = threading.Thread(target=lambda: lines.extend(follow(shop, canary, since=since)))
    thread.start()
    for number in (1, 2):
        id = shop.instance(number)
        with shop.store.write() as tx:
            instances.healthy(tx, id)
    thread.join(10)
    assert [line.split(" (")[0] for line in lines] == ["canary.1 up", "canary.2 up"]


def test_a_boot_that_fails_is_told_however_short_it_was(shop: Shop) -> None:
    since = time.time()
    canary, id = shop.begin(1), shop.instance()
    with shop.store.write() as tx:
        instances.ended(tx, id, cause="exited with status 1")
    with pytest.raises(DeployFailed, match=r"canary\.1 did not come up: exited with status 1"):
        list(follow(shop, canary, since=since))


def test_what_failed_before_is_not_told_again(shop: Shop) -> None:
    canary, id = shop.begin(1), shop.instance()
    with shop.store.write() as tx:
        instances.ended(tx, id, cause="exited with status 1")
    again = shop.instance()
    with shop.store.write() as tx:
        instances.healthy(tx, again)
    assert len(list(follow(shop, canary, since=time.time()))) == 1


def test_who_follows_goes_by_the_count_of_now(shop: Shop) -> None:
    canary, id = shop.begin(1, quantity=3), shop.instance()
    with shop.store.write() as tx:
        instances.healthy(tx, id)
    shop.begin(1, quantity=1)
    assert len(list(follow(shop, canary, since=0.0))) == 1
    shop.begin(1, quantity=9)
    with shop.store.write() as tx:
        formations.set_quantity(tx, shop.id, "web", 0)
    assert len(list(follow(shop, canary, since=0.0))) == 1


def test_a_canary_that_does_not_come_up_ends_though_its_share_was_changed(shop: Shop) -> None:
    since, told = time.time(), list[str]()
    canary, id = shop.begin(1), shop.instance()
    shop.begin(1, share=77)
    with shop.store.write() as tx:
        instances.ended(tx, id, cause="exited with status 1")
    lines = come_up(shop, canary, since=since, tell=told.append)
    assert list(_until_failure(lines)) == [" !     The canary v1 is stopped"]
    assert shop.canary() is None
    assert told == ["Canary v1 ended: canary.1 did not come up: exited with status 1."]


def test_who_hangs_up_cancels_a_canary_that_begins(shop: Shop) -> None:
    canary = shop.begin(1)
    lines = come_up(shop, canary, since=0.0, tell=lambda text: None, cancelled=lambda: True)
    assert len(list(_until_failure(lines))) == 1
    assert shop.canary() is None


def _until_failure(lines: Iterator[str]) -> Iterator[str]:
    with pytest.raises(PaasError):
        yield from lines


def test_what_the_app_was_when_a_push_began_does_not_count(shop: Shop) -> None:
    before = shop.app
    shop.release("sha256:3")
    with shop.store.write() as tx:
        assert check_beside(tx, before.id).number == 3
        apps.set_destroying(tx, shop.id)
        with pytest.raises(NotFound):
            check_beside(tx, before.id)


def test_following_ends_when_somebody_ends_the_canary(shop: Shop) -> None:
    canary = shop.begin(1)
    with shop.store.write() as tx:
        canaries.end(tx, shop.id, actor="me", why="stopped")
    with pytest.raises(DeployFailed, match="ended meanwhile"):
        list(follow(shop, canary, since=time.time()))
