"""A spawner and a store of their own for tests of builds: no api, no git, no router."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from harness.platform import ROOT, STACKS
from harness.sources import export
from paas.build import publish
from paas.build.bases import BaseImages
from paas.build.image import Described, ImageJob, build_image, describe, read_manifest
from paas.build.output import Output
from paas.build.pythons import available
from paas.build.source import SourceTree
from paas.build.stack import load_or_make
from paas.host import accounts
from paas.host.uninstall import uninstall
from paas.nouns.model import App, Image
from paas.nouns.settings import Settings, load
from paas.store import Store, apps, builds
from runtime.client import Spawner
from runtime.home import Layout


@dataclass
class BuildPlatform:
    """What `paas.build.image` calls a platform."""

    settings: Settings
    store: Store
    layout: Layout
    spawner: Spawner
    lines: list[str]
    work_groups: tuple[Path, ...] = ()

    def poke(self) -> None:
        pass

    def block_base(self) -> int:
        return int(self.spawner.info()["block"]["id_base"])

    def app(self, name: str) -> App:
        """A new app; files share a platform as their workers please, so a name that is taken gets a number."""
        with self.store.write() as tx:
            numbered = (f"{name}-{number}" for number in range(2, 100))
            free = next(each for each in chain([name], numbered) if not apps.by_name(tx, each))
            app = apps.create(tx, free, None)
        self.spawner.create_app(app.id)
        return app

    def build(
        self,
        app: App,
        files: dict[str, str | bytes],
        *,
        config: dict[str, str] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Image:
        """Export the files and build them; what the pusher sees is in `lines` afterwards."""
        tree = SourceTree.open(self.layout.sources, export(files, self.layout.sources))
        self.lines.clear()
        manifest = read_manifest(tree)
        pythons = available(self.layout, app.stack, manifest.stack)
        described: Described = describe(tree, manifest, pythons)
        output = Output(self.lines.append, cancelled=cancelled)
        bases = BaseImages(self, app, tree, config or {}, output)
        if described.plan.wants:
            bases.find(described.plan.wants)
            described = describe(tree, manifest, pythons, images=bases.bases)
        described.require_processes(tree)
        with self.store.write() as tx:
            row = builds.start(tx, app.id, commit="0" * 40, tree=tree.tree, actor="test", holder="test 0 0")
        try:
            stack = load_or_make(self, described.stack, output)
            job = ImageJob(self, app, row.number, tree, config or {}, stack, output, bases.fetch())
            return build_image(job, described)
        finally:
            with self.store.write() as tx:
                builds.finish(tx, app.id, row.number, "succeeded")


@contextmanager
def build_platform(**flags: Any) -> Iterator[BuildPlatform]:
    """A running spawner on a home of its own; taken off the machine at the end."""
    home = Path(tempfile.mkdtemp(prefix="paas-build-"))
    home.chmod(0o755)
    accounts.ensure_accounts()
    identity = accounts.ensure_identity(home)
    settings = load({"home": str(home), "stacks": str(STACKS)}, {}, None)
    settings = Settings.from_json({**settings.to_json(), "id": identity, **flags})
    layout = settings.layout()
    accounts.ensure_folders(accounts.durable_folders(layout) + accounts.run_folders(layout))
    command = [
        sys.executable,
        "-P",
        "-m",
        "runtime.spawner.server",
        "--home",
        str(home),
        "--stacks",
        str(STACKS),
    ]
    for path in publish.host_binds(settings, group_id=accounts.account(accounts.CONTROL).gid):
        command += ["--allow-bind", path]
    with open(home / "spawner.log", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        spawner = Spawner(layout.spawner_socket)
        deadline = time.monotonic() + 20
        while not _answers(spawner):
            assert process.poll() is None, (home / "spawner.log").read_text()
            assert time.monotonic() < deadline, (home / "spawner.log").read_text()
            time.sleep(0.02)
        store = Store.open(layout.database)
        yield BuildPlatform(settings, store, layout, spawner, [])
        for seen in spawner.list():
            spawner.delete(seen.id)
    finally:
        process.terminate()
        process.wait(20)
        uninstall(layout)


def _answers(spawner: Spawner) -> bool:
    from runtime.client import SpawnerError

    try:
        spawner.info()
    except SpawnerError:
        return False
    return True
