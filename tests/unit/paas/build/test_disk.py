"""The disk's own reserve: no build goes on when it is touched, whatever was measured."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from paas.build import disk
from paas.build.disk import DiskQuota
from paas.nouns.errors import BuildFailed


def test_a_disk_that_is_nearly_full_ends_a_build_unmeasured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(builds_disk_bytes=1 << 50, builds_disk_files=1 << 40)
    platform: Any = SimpleNamespace(settings=settings, layout=SimpleNamespace(builds=tmp_path), spawner=None)
    quota = DiskQuota(platform, cast(Any, None), 1, "x")
    monkeypatch.setattr(disk, "RESERVE_BYTES", 0)
    quota.check()
    status = os.statvfs(tmp_path)
    monkeypatch.setattr(disk, "RESERVE_BYTES", 2 * status.f_blocks * status.f_frsize)
    with pytest.raises(BuildFailed) as refused:
        quota.check()
    assert refused.value.cause == "disk full"
