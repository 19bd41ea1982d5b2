"""What a hostile build can make grow: it is ended, the next build works, and the disk has its space back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from harness.builder import BuildPlatform
from harness.platform import wait_for

from paas.nouns.errors import BuildFailed
from paas.nouns.model import App

GO_ON = "Procfile", "web: sleep 1000\n"


@contextmanager
def quota(platform: BuildPlatform, megabytes: int, files: int = 100_000) -> Iterator[None]:
    before = platform.settings
    platform.settings = replace(before, builds_disk_bytes=megabytes << 20, builds_disk_files=files)
    try:
        yield
    finally:
        platform.settings = before


def after_install(script: str) -> dict[str, str | bytes]:
    """An app whose build runs this script over its source."""
    return {"requirements.txt": "", "bin/post_compile": script, GO_ON[0]: GO_ON[1]}


def free_bytes(platform: BuildPlatform) -> int:
    status = os.statvfs(platform.layout.builds)
    return status.f_bavail * status.f_frsize


def refused(platform: BuildPlatform, app: App, script: str) -> BuildFailed:
    with pytest.raises(BuildFailed) as caught:
        platform.build(app, after_install(script))
    assert platform.spawner.list() == []
    return caught.value


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("output", "head -c 2G /dev/zero >/app/big; sleep 300"),
        pytest.param("elsewhere", "head -c 2G /dev/zero >/var/tmp/big; sleep 300", marks=pytest.mark.long),
        pytest.param(
            "nameless",
            "exec 3>/app/x; rm /app/x; head -c 2G /dev/zero >&3; sleep 300",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "names",
            "mkdir /app/d; cd /app/d; for i in $(seq 200); do touch $i.{1..500}; done; sleep 300",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_build_that_fills_the_disk_is_ended(platform: BuildPlatform, name: str, script: str) -> None:
    with quota(platform, 64, files=20_000):
        error = refused(platform, platform.app(f"fills-{name}"), script)
    assert error.cause == "too much written"
    assert error.message == "The build wrote more than 64 MiB or 20000 files."
    assert "builds.disk_bytes" in error.hint


@pytest.mark.long
def test_a_cache_that_is_full_is_emptied_and_the_next_build_works(platform: BuildPlatform) -> None:
    app = platform.app("fills-cache")
    folder = platform.layout.caches / app.id
    with quota(platform, 64):
        error = refused(platform, app, "head -c 2G /dev/zero >/cache/big; sleep 300")
        assert error.message == "The app's build cache had more than 64 MiB or 100000 files and was emptied."
        assert not (folder / "big").exists()
        platform.build(app, after_install("ls -A /cache; echo small >/cache/kept"))
    assert (folder / "kept").read_text() == "small\n"


@pytest.mark.long
def test_what_ends_before_it_is_noticed_is_measured_all_the_same(platform: BuildPlatform) -> None:
    with quota(platform, 16):
        error = refused(platform, platform.app("fills-quickly"), "head -c 64M /dev/zero >/app/big")
    assert error.cause == "too much written"


@pytest.mark.long
def test_tmp_counts_as_memory_and_ends_where_its_own_bound_is(platform: BuildPlatform) -> None:
    before = free_bytes(platform)
    platform.settings, kept = replace(platform.settings, builds_memory_bytes=128 << 20), platform.settings
    try:
        error = refused(platform, platform.app("fills-tmp"), "head -c 2G /dev/zero >/tmp/big")
    finally:
        platform.settings = kept
    assert "No space left on device" in "".join(platform.lines) or error.cause == "out of memory"
    wait_for(lambda: before - free_bytes(platform) < 1 << 30)


@pytest.mark.long
def test_a_closed_folder_hides_nothing(platform: BuildPlatform) -> None:
    close = "mkdir -p /cache/closed; exec 3>/cache/closed/f; chmod 0 /cache/closed"
    with quota(platform, 64):
        error = refused(platform, platform.app("hides"), f"{close}; head -c 2G /dev/zero >&3; sleep 300")
    assert "and was emptied" in error.message
