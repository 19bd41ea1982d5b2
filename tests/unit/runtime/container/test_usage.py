"""Measuring folders whose content is hostile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.container import usage
from runtime.container.usage import Usage, measure, unlinked

MOST = Usage(1 << 30, 10_000)


def test_bytes_are_those_on_the_disk_and_every_entry_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/big").write_bytes(b"x" * (1 << 20))
    (tmp_path / "a/link").symlink_to("/")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 34)
    found = measure(tmp_path, MOST)
    assert found.files == 5
    assert 1 << 20 <= found.bytes < 2 << 20


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * (1 << 20))
    for number in range(3):
        os.link(tmp_path / "one", tmp_path / f"name{number}")
    assert measure(tmp_path, MOST).bytes < 2 << 20


def test_nothing_is_followed_and_a_missing_folder_is_empty(tmp_path: Path) -> None:
    (tmp_path / "in").symlink_to("/usr")
    assert measure(tmp_path, MOST).files == 1
    assert measure(tmp_path / "missing", MOST) == Usage(0, 0)


def test_counting_ends_where_the_bound_is(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"f{number}").write_bytes(b"x" * 8192)
    assert measure(tmp_path, Usage(1 << 30, 10)).files == 11
    assert 20_000 < measure(tmp_path, Usage(20_000, 1000)).bytes < 50 * 4096


def test_folders_too_deep_to_look_into_count_as_too_many(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert measure(tmp_path, MOST).files == MOST.files + 1


def test_the_paths_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (tmp_path / ("d" * 200 + str(number))).mkdir()
    assert measure(tmp_path, MOST).files == 100
    monkeypatch.setattr(usage, "MOST_WAITING_BYTES", 10_000)
    assert measure(tmp_path, MOST).files == MOST.files + 1


HOLD = """
import io, mmap, os, sys
for name in ("open", "mapped", "named"):
    with io.open(name, "w+b", buffering=0) as file:
        file.write(b"x" * (1 << 20))
        kept = os.dup(file.fileno()) if name == "open" else mmap.mmap(file.fileno(), 0) if name == "mapped" else None
        globals()[name] = kept
        if name != "named":
            os.unlink(name)
memory = os.memfd_create("memory")
os.write(memory, b"x" * (1 << 20))
print("ready", flush=True)
sys.stdin.read()
"""


def test_files_without_a_name_count_while_a_process_has_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = unlinked([process.pid, 1 << 30], [tmp_path, tmp_path / "missing"], MOST)
        process.stdin.close()
    assert found.files == 2 and 2 << 20 <= found.bytes < 3 << 20
    assert measure(tmp_path, MOST).bytes < 2 << 20
    assert unlinked([process.pid], [tmp_path], MOST) == Usage(0, 0)


def test_more_descriptors_than_are_looked_at_count_as_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_LOOKS", 3)
    assert unlinked([os.getpid()], [tmp_path], MOST).files == MOST.files + 1
