"""A command that runs once: what its row says before and after the container starts, and when that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from harness.changes import Control, push
from harness.nouns import make_image

from paas.nouns.errors import Unavailable
from paas.nouns.model import Instance
from paas.release.deployment import open_deployment
from paas.release.one_off import Command, OneOff, add_row, start
from paas.store import apps, desired, images, instances, releases
from runtime.client import Spawner, SpawnerError
from runtime.protocol import Started
from runtime.spec import Box, Order


class Starter:
    """The spawner as a start needs it; `error` makes it fail."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.orders: list[Order] = []

    def create(self, order: Order, box: Box) -> Started:
        if self.error is not None:
            raise self.error
        self.orders.append(order)
        return Started(pid=7, start_ticks=1, boot_id="b", address="10.0.0.2", started_at=0.0)


class Shop(Control):
    """An app with a release, and a spawner."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.starter = Starter()
        self.spawner = cast(Spawner, self.starter)
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None)
            images.add(tx, make_image(app_id=self.app.id))
        open_deployment(self, self.app.id, push(image_digest="sha256:i"), wait_s=0)

    def add(self, **changes: Any) -> OneOff:
        with self.store.write() as tx:
            origin = desired.origin(tx, self.app, releases.get(tx, self.app.id, 1))
            assert origin is not None
            return add_row(tx, origin, Command(["ls", "-l"], "ann", **changes), block_base=1 << 20)

    def row(self, one_off: OneOff) -> Instance:
        with self.store.read() as tx:
            return instances.get(tx, one_off.instance.id)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.store.close()


def test_the_row_says_the_command_and_then_the_container(shop: Shop) -> None:
    one_off = shop.add(wall_s=9.0)
    assert one_off.instance.detail == {"argv": ["ls", "-l"], "actor": "ann", "detach": True}
    assert (one_off.box.resources.wall_s, one_off.box.process.attach) == (9.0, False)
    start(shop, one_off)
    row = shop.row(one_off)
    assert (row.address, row.detail["pid"], row.ended_at) == ("10.0.0.2", 7, None)
    assert [order.id for order in shop.starter.orders] == [row.runtime_id]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (SpawnerError("unavailable", "No room."), "No room."),
        (ConnectionRefusedError("away"), "The spawner does not answer."),
    ],
)
def test_a_start_that_fails_ends_the_row_with_its_cause(shop: Shop, error: Exception, cause: str) -> None:
    one_off = shop.add()
    shop.starter.error = error
    with pytest.raises(Unavailable):
        start(shop, one_off)
    row = shop.row(one_off)
    assert row.ended_at is not None
    assert row.cause == cause


def test_nothing_starts_from_a_release_whose_image_is_gone(shop: Shop) -> None:
    with shop.store.write() as tx:
        releases.forget_image(tx, shop.app.id, "sha256:i")
        assert desired.origin(tx, shop.app, releases.get(tx, shop.app.id, 1)) is None
        assert desired.origin(tx, shop.app, None) is None
