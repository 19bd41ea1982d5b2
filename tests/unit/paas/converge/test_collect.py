from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from harness.fake_runtime import FakeSpawner
from harness.nouns import make_image

from paas.converge import collect
from paas.converge.collect import Collector, orphaned_builds
from paas.converge.prune import kept_releases
from paas.nouns.certificates import Certificate
from paas.nouns.model import App, Release
from paas.nouns.settings import load
from paas.routing import files
from paas.store import Store, apps, builds, certificates, images, instances, layer_keys, releases, routing
from runtime.image.ocilayout import ImageStore
from runtime.kernel.files import locked
from runtime.kernel.process import this_process
from runtime.protocol import StoredLayer

DEAD = "00000000-0000-0000-0000-000000000000 1 1"


def digest(name: str) -> str:
    """Of the layer whose tar is this text."""
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


class Home:
    def __init__(self, folder: Path) -> None:
        for name in (
            "store",
            "logs",
            "sources",
            "builds",
            "images/blobs/sha256",
            "edge/pages",
            "edge/certificates",
        ):
            (folder / name).mkdir(parents=True)
        (folder / "id").write_text("abcdef\n")
        self.folder = folder
        self.settings = load({"home": str(folder), "keep_releases": "2"}, {})
        self.store = Store.open(folder / "store/paas.db")
        self.spawner = FakeSpawner()
        self.spawner.images = folder / "images"
        self.collector = Collector(self.settings, self.store, self.spawner, folder / "poke")
        with self.store.write() as tx:
            self.app: App = apps.create(tx, "hello", None)

    def blob(self, name: str) -> None:
        path = self.folder / "images/blobs/sha256" / digest(name).removeprefix("sha256:")
        path.write_text(name)

    def collect(self) -> None:
        """A pass, some time after everything that no running build has made."""
        with self.store.read() as tx:
            young = [build.started_at for build in builds.running(tx)]
        for path in (self.folder / "images/blobs/sha256").iterdir():
            if not young or path.stat().st_mtime < min(young):
                os.utime(path, (0, 0))
        self.collector.collect()

    def release(self, name: str, *, state: str = "succeeded") -> str:
        """A built image of the layers `base` and `code-NAME`, and its release; the image's digest."""
        layers = (digest("base"), digest(f"code-{name}"))
        self.spawner.layer_digests |= set(layers)
        self.blob("base")
        self.blob(f"code-{name}")
        manifest = ImageStore(self.settings.layout().images, self.folder / "stacks").write(layers)
        with self.store.write() as tx:
            build = builds.start(
                tx, self.app.id, commit="c", tree="t", actor="me", holder=str(this_process())
            )
            image = make_image(app_id=self.app.id, digest=manifest, layers=layers, processes={"web": "x"})
            images.add(tx, image)
            layer_keys.put(tx, f"key-{name}", layers[1], 1)
            builds.finish(tx, self.app.id, build.number, "succeeded", image_digest=image.digest)
            made = releases.create(
                tx, self.app.id, image_digest=image.digest, config_number=0, limits={}, description="d",
                commit="c", actor="me", state=state,
            )  # fmt: skip
            if state == "succeeded":
                apps.set_release(tx, self.app.id, made.number)
        return manifest

    def blobs(self) -> set[str]:
        return {"sha256:" + name for name in os.listdir(self.folder / "images/blobs/sha256")}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    made.store.close()


def test_images_layers_and_blobs_of_old_releases_go(home: Home) -> None:
    first, *kept = (home.release(name) for name in ("one", "two", "three"))
    home.spawner.layer_digests.add(digest("stray"))
    home.blob("stray")
    home.collect()
    with home.store.read() as tx:
        assert {image.digest for image in images.all(tx)} == set(kept)
        old = releases.get(tx, home.app.id, 1)
    assert old is not None and old.image_digest is None
    layers = {digest("base"), digest("code-two"), digest("code-three")}
    assert home.spawner.layer_digests == layers
    assert home.blobs() >= layers | set(kept)
    assert len(home.blobs()) == 3 + 2 * 2
    assert first not in home.blobs()


def test_a_running_build_keeps_what_it_may_use_and_nothing_else(home: Home) -> None:
    home.release("one")
    for name in ("stray", "taken up"):
        home.spawner.layer_digests.add(digest(name))
        home.blob(name)
    time.sleep(0.05)
    with home.store.write() as tx:
        builds.start(tx, home.app.id, commit="c", tree="t", actor="me", holder=str(this_process()))
    home.spawner.layer_digests.add(digest("made"))
    for name in ("made", "taken up"):
        home.blob(name)
    home.collect()
    kept = {digest(name) for name in ("base", "code-one", "made", "taken up")}
    assert home.spawner.layer_digests == kept
    assert home.blobs() > kept
    assert digest("stray") not in home.blobs()
    with home.store.write() as tx:
        builds.finish(tx, home.app.id, 2, "failed")
    home.collect()
    assert home.spawner.layer_digests == {digest("base"), digest("code-one")}


def test_the_build_of_a_dead_process_ends_and_holds_nothing_up(home: Home) -> None:
    home.release("one")
    home.spawner.layer_digests.add(digest("stray"))
    with home.store.write() as tx:
        build = builds.start(tx, home.app.id, commit="c", tree="t", actor="me", holder=DEAD)
    home.collect()
    with home.store.read() as tx:
        found = builds.get(tx, home.app.id, build.number)
    assert found is not None
    assert (found.status, found.cause) == ("failed", "interrupted")
    assert digest("stray") not in home.spawner.layer_digests


def test_an_image_that_waits_for_its_release_stays(home: Home) -> None:
    for name in ("one", "two", "three"):
        home.release(name)
    with home.store.write() as tx:
        build = builds.start(tx, home.app.id, commit="c", tree="t", actor="me", holder=str(this_process()))
        images.add(
            tx,
            make_image(
                app_id=home.app.id, digest=digest("new"), layers=(digest("base"),), processes={"web": "x"}
            ),
        )
        builds.finish(tx, home.app.id, build.number, "succeeded", image_digest=digest("new"))
    home.collect()
    with home.store.read() as tx:
        assert images.get(tx, home.app.id, digest("new")) is not None


def test_the_newest_image_stays_for_the_next_push_even_if_its_release_failed(home: Home) -> None:
    tried = [home.release("broken", state="failed"), home.release("worse", state="failed")]
    home.collect()
    with home.store.read() as tx:
        assert {image.digest for image in images.all(tx)} == {tried[1]}
    assert digest("code-worse") in home.spawner.layer_digests


def test_an_unused_layer_stays_a_week_for_the_next_build_while_there_is_room(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.release("one")
    home.spawner.layer_digests |= {digest("recent"), digest("old")}
    with home.store.write() as tx:
        layer_keys.put(tx, "recent", digest("recent"), 1)
        layer_keys.put(tx, "old", digest("old"), 1)
        tx.execute("UPDATE layer_key SET used_at = ? WHERE key = 'old'", (time.time() - 8 * 86400,))
    home.collect()
    assert digest("recent") in home.spawner.layer_digests
    assert digest("old") not in home.spawner.layer_digests
    monkeypatch.setattr(collect, "ROOM_BYTES", 1 << 60)  # the disk is short of room
    home.collect()
    assert digest("recent") not in home.spawner.layer_digests
    assert digest("code-one") in home.spawner.layer_digests


def test_the_last_succeeded_the_serving_and_the_pending_release_keep_their_images() -> None:
    def release(number: int, state: str) -> Release:
        return Release("a1", number, f"d{number}", 0, {}, "", None, "me", state, "", 0.0)

    states = ["succeeded", "succeeded", "failed", "succeeded", "failed", "pending"]
    history = [release(number, state) for number, state in enumerate(states, 1)][::-1]
    assert {release.number for release in kept_releases(history, 1, 2)} == {1, 2, 4, 6}


def test_build_instances_are_orphans_when_their_builder_is_dead_or_done(home: Home) -> None:
    with home.store.write() as tx:
        rows = []
        for who in (str(this_process()), DEAD):
            build = builds.start(tx, home.app.id, commit="c", tree="t", actor="me", holder=who)
            detail = {"build": build.number}
            rows.append(instances.create(tx, home.app.id, kind="build", type="build", detail=detail))
        rows.append(instances.create(tx, home.app.id, kind="build", type="build", detail={"build": 99}))
        assert orphaned_builds(tx, rows) == {rows[1].id, rows[2].id}


def test_sources_that_nobody_fetched_go_after_a_day(home: Home) -> None:
    old, new = home.folder / "sources/old.tar", home.folder / "sources/new.tar"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    home.collect()
    assert (old.exists(), new.exists()) == (False, True)


def test_what_a_killed_fetch_or_pull_left_goes_and_what_is_locked_stays(home: Home) -> None:
    found = home.folder / "sources"
    for name in (".new-dead", ".new-living"):
        (found / name / "incoming").mkdir(parents=True)
        (found / name / "incoming/half.pack").write_bytes(b"x")
    for name in ("image-dead.tar", "image-living.tar", "image-new.tar"):
        (found / name).write_bytes(b"x")
    for path in found.iterdir():
        if "new.tar" not in path.name:
            os.utime(path, (time.time() - 120,) * 2)
    with locked(found / ".new-living", create=False), locked(found / "image-living.tar"):
        home.collect()
    names = {path.name for path in found.iterdir()}
    assert names == {".new-living", "image-living.tar", "image-new.tar"}


def test_pages_and_certificates_that_nothing_names_go_after_an_hour(home: Home) -> None:
    layout = home.settings.layout()
    names = {
        kind: [files.put(layout.edge, kind, ".x", text) for text in (b"a", b"b", b"c")]
        for kind in ("pages", "certificates")
    }
    for kind, (used, _, old) in names.items():
        for file in (used, old):
            os.utime(layout.edge / kind / file, (0, 0))
    with home.store.write() as tx:
        routing.put(tx, home.app.id, "", "pages", {"503": names["pages"][0]})
        certificates.put(
            tx,
            Certificate(
                home.app.id, "a.test", ("a.test",), names["certificates"][0], "added", "", "", 0, 1, 0
            ),
        )
    home.collect()
    for kind, (used, young, _) in names.items():
        assert {path.name for path in (layout.edge / kind).iterdir()} == {used, young}


def test_whatever_fails_keeps_nothing_else_waiting_and_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread itself, with errors of every kind thrown into its work."""
    monkeypatch.setattr(collect, "SOON_S", 0.05)
    home.release("one")
    with home.store.write() as tx:
        leaving = apps.create(tx, "leaving", None)
    failures = [apsw.SQLError("no such table"), RuntimeError("bug"), OSError(5, "disk")]

    def remove_app(app_id: str) -> None:
        if failures:
            raise failures.pop()

    def layers() -> list[StoredLayer]:
        raise KeyError("layers")

    home.spawner.remove_app = remove_app  # type: ignore[method-assign]
    home.spawner.layers = layers  # type: ignore[method-assign]
    page = home.folder / "edge/pages" / ("0" * 64)
    page.write_text("x")
    os.utime(page, (0, 0))
    home.collector.start()
    try:
        deadline = time.monotonic() + 30
        while (page.exists() or _app(home, leaving.id)) and time.monotonic() < deadline:
            home.collector.remove_app(leaving.id)  # as the loop does at every look
            time.sleep(0.01)
    finally:
        home.collector.stop()
    assert failures == [] and _app(home, leaving.id) is None and not page.exists()
    assert {"SQLError", "RuntimeError", "KeyError"} <= {
        record.exc_info[0].__name__ for record in caplog.records if record.exc_info and record.exc_info[0]
    }


def _app(home: Home, app_id: str) -> App | None:
    with home.store.read() as tx:
        return apps.by_id(tx, app_id)
