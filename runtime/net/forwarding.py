"""`net.ipv4.ip_forward` belongs to the whole machine: the first platform turns it on, the last one puts it back.

The value found is kept in `/run/paas/net/before`, beside one marker file for each platform that needs it. Both
are gone after a reboot, as the setting is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE = Path("/run/paas/net")
SETTING = Path("/proc/sys/net/ipv4/ip_forward")
_BEFORE = "before"
_LOCK = "lock"


def enable(platform_id: str, *, state: Path = STATE, setting: Path = SETTING) -> None:
    """Turn forwarding on for this platform; again is no error."""
    with _locked(state):
        before = state / _BEFORE
        if not before.exists():
            _write(before, setting.read_text().strip())
        _write(state / platform_id, "")
        if setting.read_text().strip() != "1":
            setting.write_text("1")


def release(platform_id: str, *, state: Path = STATE, setting: Path = SETTING) -> None:
    """This platform needs it no longer; the last one restores the value that the first one found."""
    with _locked(state):
        (state / platform_id).unlink(missing_ok=True)
        others = [entry.name for entry in state.iterdir() if entry.name not in (_BEFORE, _LOCK)]
        before = state / _BEFORE
        if others or not before.exists():
            return
        setting.write_text(before.read_text())
        before.unlink()


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    state.mkdir(parents=True, exist_ok=True, mode=0o755)
    descriptor = os.open(state / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, value: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(value)
    temporary.replace(path)
