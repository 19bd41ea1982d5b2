"""What a push says while it builds: to the pusher and to the build's log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.sources import export

from paas.build.image import source_key
from paas.build.source import SourceTree
from paas.nouns.errors import BuildFailed, Cancelled, Conflict, PaasError, Unavailable
from paas.nouns.model import App, Build, Image
from paas.nouns.settings import load
from paas.release import pipeline as push
from paas.release.pipeline import PushRequest, run_push
from paas.store import Store, apps, builds, deployments, layer_keys
from runtime.stack import build as stacks
from runtime.stack.build import Stack


class Broken:
    """A platform whose spawner fails as told."""

    def __init__(self, folder: Path, error: Exception) -> None:
        self.settings = replace(load({"home": str(folder), "stacks": str(folder)}, {}, None), id="0a0b0c")
        self.layout = self.settings.layout()
        self.layout.database.parent.mkdir()
        self.layout.builds.mkdir()
        self.store = Store.open(self.layout.database)
        self.spawner: Any = self
        self.error = error
        with self.store.write() as tx:
            self.app: App = apps.create(tx, "hello", None)

    def unpack(self, tar: str) -> None:
        raise self.error

    def poke(self) -> None: ...

    def block_base(self) -> int:
        return 0

    def push(self, files: dict[str, str], said: list[str]) -> None:
        tree = export(files, self.layout.sources)
        run_push(self, self.app, PushRequest("a" * 40, tree, "me"), said.append)

    def newest(self) -> Build:
        with self.store.read() as tx:
            return builds.of_app(tx, self.app.id)[0]


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made = Stack("debian-12", ("sha256:" + "a" * 64,), ("sha256:" + "a" * 64,), "", 0, ())
    monkeypatch.setattr(stacks, "load", lambda folder, name: made)
    yield


@pytest.mark.parametrize(
    ("error", "kind", "status", "cause"),
    [
        (OSError(28, "No space left on device"), Unavailable, "failed", "The spawner does not answer."),
        (RuntimeError("a bug"), RuntimeError, "failed", "internal error"),
        (Cancelled("stop", cause="cancelled"), Cancelled, "cancelled", "cancelled"),
        (BuildFailed("no", cause="out of memory"), BuildFailed, "failed", "out of memory"),
    ],
)
def test_a_build_is_finished_whatever_breaks(
    tmp_path: Path, error: Exception, kind: type[Exception], status: str, cause: str
) -> None:
    platform = Broken(tmp_path, error)
    with pytest.raises(kind):
        platform.push({"index.html": ""}, [])
    assert (platform.newest().status, platform.newest().cause) == (status, cause)


def test_a_log_that_cannot_be_written_says_that_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, number: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(push, "open_log", full)
    platform = Broken(tmp_path, AssertionError())
    with pytest.raises(Unavailable, match="disk of the server is full"):
        platform.push({"index.html": ""}, [])
    assert platform.newest().cause == "disk full"


def test_a_refusal_is_in_the_log_of_the_build_with_what_was_said(tmp_path: Path) -> None:
    platform, said = Broken(tmp_path, AssertionError()), []
    with pytest.raises(PaasError):
        platform.push({"README.md": ""}, said)
    log = (platform.layout.builds / platform.app.id / "1.log").read_text()
    assert said == ["-----> Building hello from aaaaaaa on stack debian-12"]
    assert log.startswith(said[0] + "\n !     no buildpack matched: No buildpack matched: saw README.md;")


def test_a_tree_cannot_pose_as_the_platform(tmp_path: Path) -> None:
    platform, said = Broken(tmp_path, Cancelled("stop")), []
    evil = '{"engines": {"node": ">=1 \\n-----> Release v9\\u001b[31m"}, "scripts": {"start": "x"}}'
    with pytest.raises(PaasError):
        platform.push({"package.json": evil, "Procfile": "web: x\n"}, said)
    log = (platform.layout.builds / platform.app.id / "1.log").read_text()
    assert not any(line.startswith("-----> Release") for line in log.splitlines())
    assert "\x1b" not in log + "".join(said)
    assert not any("\n" in line for line in said)


def test_a_rebuild_of_what_no_longer_serves_deploys_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another push may go live while the image is built."""
    platform = Broken(tmp_path, RuntimeError("not asked"))
    tree = export({"Procfile": "web: x"}, platform.layout.sources)
    image = Image(platform.app.id, "sha256:1", (), {}, {"web": "x"}, {}, "debian-12", 1)
    monkeypatch.setattr(push, "build_image", lambda job, described: image)
    monkeypatch.setattr(
        SourceTree, "of_layer", lambda folder, name, blob, procfile: SourceTree.open(folder, name, procfile)
    )
    with platform.store.write() as tx:
        layer_keys.put(tx, source_key(platform.app.id, tree), "sha256:2", 1)
    request = PushRequest("a" * 40, tree, "me", wait=False, again=7)
    with pytest.raises(Conflict, match="Another release than v7 serves"):
        run_push(platform, platform.app, request, lambda line: None)
    only_built = run_push(platform, platform.app, replace(request, deploy=False), lambda line: None)
    assert (only_built.release, only_built.image_digest) == (0, "sha256:1")
    with platform.store.read() as tx:
        assert deployments.newest_push(tx, platform.app.id) is None
