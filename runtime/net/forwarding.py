"""`net.ipv4.ip_forward` belongs to the whole machine: the first platform turns it on, the last one puts it back.

The value found is kept in `/run/paas/net/before`, beside one marker file for each platform that needs it. Both
are gone after a reboot, as the setting is.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from runtime.kernel import files

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
        names = {entry.name for entry in state.iterdir() if not entry.name.startswith(files.STAGED)}
        before = state / _BEFORE
        if names - {_BEFORE, _LOCK} or not before.exists():
            return
        setting.write_text(before.read_text())
        before.unlink()


def _locked(state: Path) -> AbstractContextManager[int]:
    state.mkdir(parents=True, exist_ok=True, mode=0o755)
    return files.locked(state / _LOCK)


def _write(path: Path, value: str) -> None:
    files.replace(path, value, durable=False)
