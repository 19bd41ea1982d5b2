"""The bounds of what a build writes: into its own folders, and into its app's cache.

Few file systems have quotas, so the free space of the disk is looked at all the time, which costs a system call; a build
is measured when so much has gone that it may be the reason, and now and then. It stands still meanwhile.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from paas.build.output import Output
from paas.build.platform import Platform
from paas.nouns.errors import BuildFailed
from paas.nouns.model import App
from paas.nouns.text import WARNING
from paas.nouns.units import shown_memory

_SHARE = 8
"""A build is measured whenever this part of its quota has gone from the disk."""
_PERIOD_S = 30.0
RESERVE_BYTES = 512 << 20
"""So much of the disk stays free for the platform and its apps, whatever a build is found to have written."""
_ENDS = 8
"""The cache is measured at the end of each of so many builds, however little was written."""


@dataclass(frozen=True)
class _Free:
    bytes: int
    files: int


def _free(platform: Platform) -> _Free:
    status = os.statvfs(platform.layout.builds)
    return _Free(status.f_bavail * status.f_frsize, status.f_favail)


def refuse_full_disk(platform: Platform) -> None:
    """Raises BuildFailed when hardly anything is left of the disk."""
    if _free(platform).bytes < RESERVE_BYTES:
        raise BuildFailed(
            f"The server's disk has less than {shown_memory(RESERVE_BYTES)} left.",
            "Tell the platform's operator, and push again.",
            cause="disk full",
        )


class DiskQuota:
    """Watches one step of a build. `check` it all the time, `finish` it when the script has ended."""

    def __init__(self, platform: Platform, app: App, build_number: int, runtime_id: str) -> None:
        self._platform, self._app = platform, app
        self._id, self._due = runtime_id, build_number % _ENDS == 0
        settings = platform.settings
        self._most = _Free(settings.builds_disk_bytes, settings.builds_disk_files)
        self._looked, self._free = time.monotonic(), self._now()

    def check(self) -> None:
        """Raises BuildFailed when the step has written too much or the disk is nearly full, SpawnerError."""
        refuse_full_disk(self._platform)
        if not self._gone(_SHARE) and time.monotonic() - self._looked < _PERIOD_S:
            return
        self._measure()
        self._looked, self._free = time.monotonic(), self._now()

    def finish(self, output: Output) -> None:
        """Look once more, unless hardly anything was written; a cache that has grown too large is emptied.
        Raises BuildFailed, SpawnerError."""
        if self._due or self._gone(_SHARE * _ENDS):
            try:
                self._measure()
            except _CacheFull as full:
                output.line(WARNING + full.message)

    def _now(self) -> _Free:
        return _free(self._platform)

    def _gone(self, share: int) -> bool:
        now = self._now()
        return (
            self._free.bytes - now.bytes > self._most.bytes // share
            or self._free.files - now.files > self._most.files // share
        )

    def _measure(self) -> None:
        most = self._most
        found = self._platform.spawner.disk(self._id, most.bytes, most.files)
        bound = f"{shown_memory(most.bytes)} or {most.files} files"
        if found["upper"]["bytes"] > most.bytes or found["upper"]["files"] > most.files:
            raise BuildFailed(
                f"The build wrote more than {bound}.",
                "Write less, or raise builds.disk_bytes or builds.disk_files in paas.yml.",
                cause="too much written",
            )
        if found["cache"]["bytes"] > most.bytes or found["cache"]["files"] > most.files:
            self._platform.spawner.empty_cache(self._app.id)
            raise _CacheFull(
                f"The app's build cache had more than {bound} and was emptied.",
                "Push again; the operator's limits are builds.disk_bytes and builds.disk_files.",
                cause="too much written",
            )


class _CacheFull(BuildFailed):
    """The cache that the app's builds share is too large, perhaps by the work of earlier ones."""
