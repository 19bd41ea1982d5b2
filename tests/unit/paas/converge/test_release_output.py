"""What a release command prints becomes progress lines of its deployment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.changes import Control, push
from harness.nouns import make_image, make_instance

from paas.converge import release_output
from paas.converge.release_output import ReleaseOutput
from paas.converge.world import AppState
from paas.logs import stamp
from paas.release.deployment import open_deployment
from paas.store import apps, deployments, images


class Shop(Control):
    """An app whose release command i3 runs for its first deployment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with self.store.write() as tx:
            app = apps.create(tx, "hello", None)
            images.add(tx, make_image(app_id=app.id))
        _, deployment = open_deployment(self, app.id, push(image_digest="sha256:i"), wait_s=0)
        assert deployment is not None
        self.deployment = deployment
        self.instance = make_instance(
            3, app_id=app.id, kind="release", type="release", deployment_id=deployment.id
        )
        self.state = AppState(app, live=(self.instance,))
        (self.layout.logs / app.id).mkdir(parents=True)
        self.log = self.layout.logs / app.id / "i3.0.log"

    def prints(self, *messages: str) -> None:
        with self.log.open("a") as file:
            for message in messages:
                file.write(f"{stamp(0.0)} app[release.1]: {message}\n")

    def lines(self) -> list[str]:
        with self.store.read() as tx:
            return [text for _, text in deployments.lines(tx, self.deployment.id)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.store.close()


def test_each_line_is_carried_once(shop: Shop) -> None:
    output = ReleaseOutput(shop.store, shop.layout)
    output.expect(shop.instance)
    shop.prints("one: 1", "two]: 2")
    assert output.follow([shop.state])
    assert not output.follow([shop.state])
    shop.prints("three")
    assert output.follow([shop.state])
    assert shop.lines() == ["       one: 1", "       two]: 2", "       three"]


def test_a_loop_that_starts_anew_goes_on_with_new_lines(shop: Shop) -> None:
    shop.prints("before")
    output = ReleaseOutput(shop.store, shop.layout)
    output.follow([shop.state])
    shop.prints("after")
    output.follow([shop.state])
    assert shop.lines() == ["       after"]


def test_a_flood_is_cut(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_output, "MAX_LINES", 3)
    output = ReleaseOutput(shop.store, shop.layout)
    output.expect(shop.instance)
    shop.prints("one", "two", "three", "four")
    output.follow([shop.state])
    shop.prints("five")
    assert not output.follow([shop.state])
    assert len(shop.lines()) == 3


def test_what_other_instances_print_is_not_carried(shop: Shop) -> None:
    web = replace(shop.instance, kind="process", type="web")
    output = ReleaseOutput(shop.store, shop.layout)
    shop.prints("web talks")
    assert not output.follow([replace(shop.state, live=(web,))])
