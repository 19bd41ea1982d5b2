"""A log in two files, of which the older one is freed bit by bit."""

from __future__ import annotations

import os
from pathlib import Path

from router.report.ring import Ring


def test_logs_are_a_ring_of_two_files(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "a1.0", 1000)
    for number in range(100):
        ring.write(b"%099d\n" % number)
    ring.close()
    texts = sorted((tmp_path / f"a1.0.{n}.log").read_bytes() for n in (0, 1))
    assert all(len(text) <= 1000 for text in texts)
    numbers = [int(line) for text in texts for line in text.split()]
    assert numbers == list(range(100 - len(numbers), 100)) and len(numbers) >= 10
    again = Ring(tmp_path / "a1.0", 1000)
    again.write(b"new\n")
    again.close()
    assert any(
        path.read_bytes().endswith(b"%099d\nnew\n" % 99) or path.read_bytes() == b"new\n"
        for path in tmp_path.iterdir()
    )


def deleted_files(folder: Path) -> list[int]:
    """Bytes of the files that were in this folder and are still open."""
    fds = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    names = [(fd, os.readlink(fd)) for fd in fds if fd.exists() or fd.is_symlink()]
    return [
        fd.stat().st_size
        for fd, name in names
        if name.startswith(f"{folder}/") and name.endswith(" (deleted)")
    ]


def test_a_full_file_is_freed_piece_by_piece(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "a1.0", 1 << 20)
    for _ in range(33):
        ring.write(bytes(1 << 16))
    kept = deleted_files(tmp_path)
    while deleted_files(tmp_path):
        ring.write(b"x")
        kept += deleted_files(tmp_path)
    ring.close()
    assert kept == [3 << 18, 2 << 18, 1 << 18]
    assert sorted(path.stat().st_size for path in tmp_path.iterdir()) == [(1 << 16) + 3, 1 << 20]
