"""`net.ipv4.ip_forward` is a setting of the whole machine: the first platform turns it on, the last one restores it.

The original value is kept in `/run/paas/net/before`, beside one marker file for each platform that needs forwarding.
A reboot clears both, and the setting too.
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
    """Turn forwarding on for this platform; a second call changes nothing."""
    with _locked(state):
        before = state / _BEFORE
        if not before.exists():
            _write(before, setting.read_text().strip())
        _write(state / platform_id, "")
        if setting.read_text().strip() != "1":
            setting.write_text("1")


def release(platform_id: str, *, state: Path = STATE, setting: Path = SETTING) -> None:
    """Give forwarding up for this platform; the last platform restores the value that the first one found."""
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
