"""What a change of scale, a stop or a restart tells of instances, and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.changes import Control, push
from harness.nouns import make_image, make_instance

from paas.nouns.errors import DeployFailed
from paas.nouns.model import Instance
from paas.release.deployment import open_deployment
from paas.release.formation import change_line, follow_formation
from paas.store import apps, deployments, formations, images, instances


@pytest.mark.parametrize(
    ("before", "row", "line"),
    [
        ("up", make_instance(state="up"), ""),
        ("starting", make_instance(state="up", healthy_at=0.5), "web.1 up (healthy after 0.50 s)"),
        ("up", make_instance(state="draining"), "web.1 stopping"),
        ("draining", make_instance(state="stopping"), ""),
        ("starting", make_instance(state="ended", cause="out of memory"), "web.1 ended: out of memory"),
        ("stopping", make_instance(state="ended", cause="stopped"), "web.1 stopped"),
        ("", make_instance(state="starting"), ""),
    ],
)
def test_a_line_tells_of_each_change_once(before: str, row: Instance, line: str) -> None:
    assert change_line(before, row) == line


class Shop(Control):
    """An app whose web process is to run twice."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None)
            image = make_image(app_id=self.app.id)
            images.add(tx, image)
        _, deployment = open_deployment(self, self.app.id, push(image_digest=image.digest), wait_s=0)
        assert deployment is not None
        with self.store.write() as tx:
            for state in ("starting", "switching", "draining", "succeeded"):
                deployments.advance(tx, deployment.id, state)
            formations.set_quantity(tx, self.app.id, "web", 2)

    def start(self, number: int, release: int = 1) -> int:
        with self.store.write() as tx:
            return instances.create(
                tx, self.app.id, kind="process", type="web", number=number, release_number=release
            ).id

    def up(self, id: int) -> None:
        with self.store.write() as tx:
            instances.healthy(tx, id)

    def end(self, id: int, cause: str) -> None:
        with self.store.write() as tx:
            instances.ended(tx, id, cause=cause)

    def follow(self, *steps: Callable[[], object]) -> Iterator[str]:
        """Follow `web`; before each look one of the steps happens."""
        left = list(steps)

        def step() -> bool:
            if left:
                left.pop(0)()
            return False

        return follow_formation(self, self.app.id, ["web"], cancelled=step)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.store.close()


def test_it_ends_when_every_wanted_instance_is_up(shop: Shop) -> None:
    shop.up(shop.start(1))
    lines = list(shop.follow(lambda: shop.start(2), lambda: shop.up(2)))
    assert [line.partition(" (")[0] for line in lines] == ["web.2 up"]


def test_an_instance_that_ends_during_its_boot_is_a_failure_with_its_cause(shop: Shop) -> None:
    shop.up(shop.start(1))
    lines = shop.follow(lambda: shop.start(2), lambda: shop.end(2, "out of memory"))
    assert next(lines) == "web.2 ended: out of memory"
    with pytest.raises(DeployFailed, match=r"web\.2 did not come up: out of memory") as caught:
        next(lines)
    assert caught.value.cause == "out of memory"


def test_instances_of_a_release_that_leaves_are_not_told_of(shop: Shop) -> None:
    shop.up(shop.start(1))
    shop.up(shop.start(2))
    other = shop.start(3, release=7)
    assert list(shop.follow(lambda: shop.end(other, "stopped"))) == []


def test_a_listener_that_leaves_ends_it(shop: Shop) -> None:
    assert list(follow_formation(shop, shop.app.id, ["web"], cancelled=lambda: True)) == []
