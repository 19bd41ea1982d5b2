"""A log of bounded size: two files, `NAME.0.log` and `NAME.1.log`, written alternately."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

RING_BYTES: Final = 8 * 1024 * 1024
PIECE_BYTES: Final = 256 * 1024


class Ring:
    """Two files of `cap_bytes` each; when the newer one is full, the older one is replaced. The kernel takes
    milliseconds to free a whole file, so the old one is unlinked, and truncated piece by piece at each write."""

    def __init__(self, base: Path, cap_bytes: int) -> None:
        self._paths = [base.with_name(f"{base.name}.{n}.log") for n in (0, 1)]
        self._cap = cap_bytes
        times = [path.stat().st_mtime_ns if path.exists() else 0 for path in self._paths]
        self._turn = 1 if times[1] > times[0] else 0
        self._fd = self._retired_fd = -1
        self._retired_bytes = 0
        """How much of the unlinked file is still to be freed."""
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._paths[self._turn], flags, 0o640)
        self._size = os.fstat(self._fd).st_size
        if self._size == 0:
            os.fchmod(self._fd, 0o640)

    def write(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._cap:
            self._turn_over()
        self._size += os.write(self._fd, data)
        if self._retired_fd >= 0:
            self._free_piece()

    def _turn_over(self) -> None:
        """Continue in the other file, emptied."""
        self.close()
        self._turn ^= 1
        path = self._paths[self._turn]
        with contextlib.suppress(OSError):  # a file that cannot be opened is freed by unlink, at once
            self._retired_fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._retired_bytes = os.fstat(self._retired_fd).st_size
        path.unlink(missing_ok=True)
        self._open()

    def _free_piece(self) -> None:
        self._retired_bytes -= PIECE_BYTES
        if self._retired_bytes > 0:
            os.truncate(self._retired_fd, self._retired_bytes)
        else:
            os.close(self._retired_fd)
            self._retired_fd = -1

    def close(self) -> None:
        """Close the files; closing twice does nothing."""
        for fd in (self._fd, self._retired_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._retired_fd = -1
