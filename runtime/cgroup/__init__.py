"""Control groups behind one protocol: `detect` finds which version this kernel has mounted. Imports `spec`.

Begin with `base`, then `v1` or `v2`.
"""

from __future__ import annotations

from pathlib import Path

from runtime.cgroup.base import CgroupError, Cgroups, Group, Lent, OomWatch, Stats, enter, work_limits
from runtime.cgroup.v1 import CONTROLLERS, REQUIRED, UNIFIED, V1
from runtime.cgroup.v2 import V2

__all__ = [
    "CgroupError", "Cgroups", "Group", "Lent", "OomWatch", "Stats",
    "cgroup_mounts", "detect", "enter", "work_limits",
]  # fmt: skip


def detect(platform_id: str, mountinfo: Path = Path("/proc/self/mountinfo")) -> Cgroups:
    """The platform's groups below `paas-ID`, which is made: v1 if its controllers are mounted, else v2.

    Raises CgroupError when neither offers cpu, memory and pids.
    """
    mounts = cgroup_mounts(mountinfo.read_text(errors="surrogateescape"))
    if set(mounts) >= REQUIRED:
        return V1(platform_id, mounts)
    if UNIFIED in mounts:
        return V2(platform_id, mounts[UNIFIED])
    raise CgroupError("no cgroup file system is mounted; expected one at /sys/fs/cgroup")


def cgroup_mounts(mountinfo: str) -> dict[str, Path]:
    """Where each v1 controller is mounted, and the v2 tree as `unified`; the first mount of each counts.

    See proc_pid_mountinfo(5) for the format.
    """
    mounts: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            mounts.setdefault(UNIFIED, Path(_unescape(fields[4])))
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                if option in CONTROLLERS:
                    mounts.setdefault(option, Path(_unescape(fields[4])))
    return mounts


def _unescape(text: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, character)
    return text
