"""Admission: what all apps may use together, whichever way somebody asks for more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.changes import Control, push, set_limits
from harness.nouns import make_image

from paas.nouns.errors import BadInput
from paas.nouns.model import App
from paas.nouns.settings import load
from paas.release import capacity
from paas.release.canary import begin_pushed
from paas.release.capacity import admitted, promised
from paas.release.change import Change
from paas.release.deployment import open_deployment, restart
from paas.store import apps, deployments, formations, images

GIB = 1 << 30


class Town(Control):
    """Two apps on a machine of 4 GiB, of which half as much again may be promised."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, overcommit=1.5)
        with self.store.write() as tx:
            self.apps: list[App] = [apps.create(tx, name, None) for name in ("one", "two")]

    def deploy(self, app: App, change: Change) -> None:
        _, made = open_deployment(self, app.id, change, wait_s=0)
        if made is not None:
            with self.store.write() as tx:
                for state in ("starting", "switching", "draining", "succeeded"):
                    deployments.advance(tx, made.id, state)

    def image(self, app: App, number: int = 1) -> str:
        digest = f"sha256:{number:064x}"
        processes = {"web": "x", "worker": "y", "release": "z"}
        with self.store.write() as tx:
            images.add(tx, make_image(app_id=app.id, digest=digest, layers=(digest,), processes=processes))
        return digest

    def limit(self, app: App, gibibytes: int, type: str = "web") -> None:
        self.deploy(app, set_limits(limits={type: {"memory_bytes": gibibytes * GIB}}))

    def scale(self, app: App, count: int, type: str = "web") -> None:
        with self.store.write() as tx, admitted(tx, 1.5):
            formations.set_quantity(tx, app.id, type, count)

    def promised(self) -> dict[str, float]:
        with self.store.read() as tx:
            return {name: size / GIB for name, size in promised(tx).items()}


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setattr(capacity, "machine_bytes", lambda: 4 * GIB)
    made = Town(tmp_path)
    for app in made.apps:
        made.deploy(app, push(image_digest=made.image(app)))
    yield made
    made.store.close()


def test_the_default_is_the_settings(tmp_path: Path) -> None:
    assert load({"home": str(tmp_path)}, {}).memory_overcommit == 2.0


def test_what_runs_counts_and_nothing_else(town: Town) -> None:
    one, two = town.apps
    assert town.promised() == {"one": 0.5, "two": 0.5}
    town.limit(one, 3, "worker")
    town.limit(one, 1)
    town.scale(two, 2)
    assert town.promised() == {"one": 1.0, "two": 1.0}
    with town.store.write() as tx:
        formations.set_stopped(tx, two.id, "web", True)
    assert town.promised() == {"one": 1.0, "two": 0.0}


def test_every_way_to_more_is_judged_by_the_whole(town: Town) -> None:
    one, two = town.apps
    town.limit(one, 2)
    town.scale(one, 2)
    with pytest.raises(BadInput) as caught:
        town.scale(two, 5)
    assert caught.value.message == (
        "two does not fit: its processes could use 2560 MiB of memory, those of all apps 6656 MiB; at most 6144 MiB"
        " may be promised (1.5 times the 4096 MiB of this machine)."
    )
    assert "Now promised: 4608 MiB" in caught.value.hint
    assert caught.value.cause == "does not fit"
    with pytest.raises(BadInput, match="one does not fit"):
        town.limit(one, 3)
    change = push(image_digest=town.image(one, 2), beside=True)
    with pytest.raises(BadInput, match="one does not fit"), town.store.write() as tx, admitted(tx, 1.5):
        begin_pushed(tx, one, change, share=10)
    with town.store.write() as tx:
        three = apps.create(tx, "three", None)
        formations.set_quantity(tx, three.id, "web", 4)
    with pytest.raises(BadInput, match="three does not fit"):
        town.deploy(three, push(image_digest=town.image(three)))
    assert town.promised() == {"one": 4.0, "two": 0.5, "three": 0.0}


def test_a_stopped_type_is_started_again_only_if_it_fits(town: Town) -> None:
    one, two = town.apps
    town.limit(one, 4)
    with town.store.write() as tx:
        formations.set_stopped(tx, one.id, "web", True)
    town.limit(two, 3)
    with pytest.raises(BadInput, match="one does not fit"):
        restart(town, one.id, actor="me")
    with pytest.raises(BadInput, match="one does not fit"):
        town.deploy(one, push(image_digest=town.image(one, 3)))
    assert town.promised() == {"one": 0.0, "two": 3.0}


def test_less_is_always_possible(town: Town) -> None:
    one, _ = town.apps
    with town.store.write() as tx:
        formations.set_quantity(tx, one.id, "web", 100)
    town.scale(one, 50)
    town.deploy(one, push(image_digest=town.image(one, 2)))
    assert town.promised()["one"] == 25.0
