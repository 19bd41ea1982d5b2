"""Housekeeping: remove what no row names any more. It has its own thread, since removal may take long.

Everything here is reachability: what must stay is computed from rows read *after* listing what exists. Files that
builds made or reused since the oldest running build began stay too: their rows do not exist yet.
"""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from paas import logs
from paas.converge import prune
from paas.converge.packing import Packing
from paas.daemon import threads
from paas.nouns.errors import PaasError
from paas.nouns.model import Build, Instance
from paas.nouns.settings import Settings
from paas.nouns.units import DAY_S
from paas.routing import files as edge
from paas.store import (
    Store,
    Tx,
    apps,
    builds,
    certificates,
    events,
    images,
    instances,
    layer_keys,
    poke,
    routing,
)
from runtime.client import Spawner, SpawnerError
from runtime.image.errors import ImageError
from runtime.image.ocilayout import ImageStore
from runtime.image.packed import sweep
from runtime.image.removal import remove_path
from runtime.kernel.files import STAGED, locked
from runtime.kernel.process import is_running

log = logging.getLogger("converge.collect")

EVERY_S = 120.0
SOON_S = 2.0
SOURCE_AGE_S = float(DAY_S)
UNLOCKED, UNLOCKED_AGE_S = (STAGED, "image-"), 60.0
"""Folders and files below `sources` that are left over when nobody holds a lock on them, and so much time is enough to lock one."""
LAYER_KEY_AGE_S = 7.0 * DAY_S
ROOM_BYTES = 8 << 30
"""With less on the disk, layers that no image has are kept for running builds alone."""
CLOCK_S = 1.0
"""How long after a file its row may come, where no build is running: an image that is pulled, or rebased. Less than SOON_S, so
that what an event leaves goes with the pass that follows it."""


class Collector:
    """`collect_soon` and `remove_app` only queue; the thread does the work and pokes the loop when it matters."""

    def __init__(self, settings: Settings, store: Store, client: Spawner, poke_path: Path) -> None:
        self._settings, self._layout = settings, settings.layout()
        self._store, self._client, self._poke_path = store, client, poke_path
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._packing = Packing(store, self._layout)
        self._removing: frozenset[str] = frozenset()
        self._due = 0.0

    def start(self) -> None:
        self._due = time.monotonic() + SOON_S
        threads.keep("collect", self._run)

    def stop(self) -> None:
        self._queue.put(None)

    def collect_soon(self) -> None:
        self._queue.put("")

    def remove_app(self, app_id: str) -> None:
        """Remove everything of an app that is being destroyed and has no instance left; then its row."""
        if app_id not in self._removing:
            self._removing |= {app_id}
            self._queue.put(app_id)

    @property
    def removing(self) -> frozenset[str]:
        """Apps that are queued for removal or already gone; ids are never reused."""
        return self._removing

    def _run(self) -> None:
        while True:
            job = self._next_job()
            if job is None:
                return
            now = time.monotonic()
            if not job and now >= self._due:
                self._due = now + EVERY_S
                self.collect()
                continue
            self._due = min(self._due, now + SOON_S)
            if job and not _done(f"destroy {job}", partial(self._destroy, job)):
                self._removing -= {job}

    def _next_job(self) -> str | None:
        """The next queued job; "" when the next pass is due."""
        with suppress(queue.Empty):
            return self._queue.get(timeout=max(0.0, self._due - time.monotonic()))
        return ""

    def _destroy(self, app_id: str) -> None:
        log.info("app=%s removing", app_id)
        self._client.remove_app(app_id)
        _remove_files(self._layout.builds / app_id)
        logs.remove_router_files(self._layout, app_id)
        with self._store.write() as tx:
            prune.forget_layers(tx, {(app_id, image.digest) for image in images.of_app(tx, app_id)})
            apps.delete(tx, app_id)
        poke(self._poke_path)
        poke(self._layout.git_socket)
        log.info("app=%s removed", app_id)

    def collect(self) -> None:
        """One pass over everything; a step that fails does not stop the others."""
        _done("dead builds", partial(end_dead_builds, self._store))
        with self._store.read() as tx:
            found = [(app.id, [i.runtime_id for i in instances.live_of(tx, app.id)]) for app in apps.all(tx)]
        for app_id, live in found:
            _done(f"app {app_id}", partial(self._collect_app, app_id, live))
        _done("sources", self._collect_sources)
        _done("layers", self._collect_layers)
        _done("blobs", self._collect_blobs)
        _done("edge", self._collect_edge)
        _done("store", self._shrink_store)
        _done("packing", self._packing.step)

    def _collect_app(self, app_id: str, live: list[str]) -> None:
        with self._store.write() as tx:
            gone = prune.prune_app(tx, app_id, self._settings.keep_releases, time.time())
        for number in gone.builds:
            (self._layout.builds / app_id / f"{number}.log").unlink(missing_ok=True)
        freed = logs.enforce_cap(self._layout, app_id, self._settings.log_cap_bytes, live)
        if gone.images or freed:
            log.info("app=%s images=%d log_bytes=%d collected", app_id, len(gone.images), freed)

    def _collect_sources(self) -> None:
        """Remove what a killed process left; a living one removes its own, and holds a lock on what it makes."""
        for entry in os.scandir(self._layout.sources):
            with suppress(OSError):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > SOURCE_AGE_S and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)
                elif age > UNLOCKED_AGE_S and entry.name.startswith(UNLOCKED):
                    with locked(Path(entry.path), wait=False, create=False):
                        remove_path(Path(entry.path))

    def _collect_layers(self) -> None:
        now = time.time()
        there = [layer.digest for layer in self._client.layers()]
        with self._store.write() as tx:
            since = unused_since(builds.running(tx), now)
            used = {digest for image in images.all(tx) for digest in image.layers}
            horizon = time.time() - (LAYER_KEY_AGE_S if self._has_room() else 0.0)
            for key in layer_keys.all(tx):
                if key.digest in used or (key.used_at > horizon and apps.all(tx)):
                    used.add(key.digest)
                else:
                    layer_keys.delete(tx, key.key)
        for digest in there:
            if digest not in used and self._client.remove_layer(digest, unused_since=since):
                log.info("layer=%s collected", digest)

    def _has_room(self) -> bool:
        status = os.statvfs(self._layout.images)
        return status.f_bavail * status.f_frsize >= ROOM_BYTES

    def _collect_blobs(self) -> None:
        """Remove blobs of the image layout that neither an image nor a kept layer names."""
        now = time.time()
        layers = {layer.digest for layer in self._client.layers()}
        with self._store.read() as tx:
            since = unused_since(builds.running(tx), now)
            manifests = {image.digest for image in images.all(tx)}
            used = layers | {digest for image in images.all(tx) for digest in image.layers}
        store = ImageStore(self._layout.images, self._layout.stacks)
        store.prepare()
        freed = store.collect(manifests, blobs=used, unused_since=since) + sweep(store)
        if freed:
            log.info("blobs bytes=%d collected", freed)

    def _collect_edge(self) -> None:
        """Remove certificates and error pages that were replaced or whose app is gone."""
        with self._store.read() as tx:
            named = {"certificates": {row.file for row in certificates.all(tx)}, "pages": routing.pages(tx)}
        for kind, files in named.items():
            edge.sweep(self._layout.edge, kind, files)

    def _shrink_store(self) -> None:
        with self._store.write() as tx:
            events.prune(tx, prune.KEEP_EVENTS)
        freed = self._store.shrink()
        if freed > 0:
            log.info("store bytes=%d given back", freed)


def _done(what: str, step: Callable[[], object]) -> bool:
    """Take a step; whether it was taken. What failed is logged and tried again at the next pass."""
    try:
        step()
    except (SpawnerError, PaasError, ImageError, OSError) as error:
        log.warning("housekeeping what=%r reason=%s", what, error)
        return False
    except Exception:
        log.exception("housekeeping what=%r", what)
        return False
    return True


def orphaned_builds(tx: Tx, live: Iterable[Instance]) -> frozenset[int]:
    """Build instances whose build has ended or whose building process has died."""
    found = set()
    for instance in live:
        if instance.kind != "build":
            continue
        number = instance.detail.get("build")
        build = builds.get(tx, instance.app_id, number) if isinstance(number, int) else None
        if build is None or build.status != "running" or not is_running(build.holder):
            found.add(instance.id)
    return frozenset(found)


def unused_since(running: Iterable[Build], now: float) -> float:
    """The moment (unix seconds) since which files that no row names may be those of a running build. Pure."""
    return min([now, *(build.started_at for build in running)]) - CLOCK_S


def end_dead_builds(store: Store) -> None:
    """Mark builds whose process has died as failed."""
    with store.write() as tx:
        for build in builds.running(tx):
            if not is_running(build.holder):
                builds.finish(tx, build.app_id, build.number, "failed", cause="interrupted")


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _remove_files(folder: Path) -> None:
    """Remove a folder of plain files that the platform wrote itself."""
    for entry in _listed(folder):
        Path(entry.path).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        os.rmdir(folder)
