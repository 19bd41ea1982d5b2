"""cgroup v2: one tree. An instance's group has two leaves, `app` and `shim`, as only leaves may hold processes.

Memory and pids are limited at `app`, so that the shim is never killed for the app's use. The cpu quota is set on the
instance, so that the shim's work of logging counts, and repeated at `app`, where language run times look for it. Devices
have no controller here: nodev mounts and the user namespace keep them out.
Source: Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress
from pathlib import Path

from runtime.cgroup.base import (
    BFQ_MOST,
    CPU_PERIOD_US,
    PROCESSES,
    CgroupError,
    Cgroups,
    Group,
    Lent,
    OomWatch,
    Stats,
    cpu_quota_us,
    make,
    read,
    read_flat,
    read_number,
    read_pids,
    refuse_memory,
    remove_tree,
    write,
)
from runtime.spec import Limits

CONTROLLERS = ("cpu", "memory", "pids")
OPTIONAL = ("cpuset", "io")
APP, SHIM = "app", "shim"


class V2(Cgroups):
    """The groups of one platform, `paas-ID` at the top of the tree: outside of any service's group."""

    version = "v2"

    def __init__(self, platform_id: str, mount: Path) -> None:
        offered = read(mount / "cgroup.controllers").split()
        missing = [name for name in CONTROLLERS if name not in offered]
        if missing:
            raise CgroupError(f"the cgroup v2 tree at {mount} offers no controller {', '.join(missing)}")
        self._controllers = [*CONTROLLERS, *(name for name in OPTIONAL if name in offered)]
        self._root = mount / f"paas-{platform_id}"
        self.tops = (self._root,)
        _enable(mount, self._controllers)
        make(self._root)
        _enable(self._root, self._controllers)

    def group(self, instance_id: str) -> V2Group:
        return V2Group(instance_id, self._root / instance_id, self._controllers)

    def lend(self, name: str, limits: Limits, user: int, group: int) -> Lent:
        """The daemon goes into the leaf `shim`, its work into `app`: both below a group that the user may move in."""
        path = self._root / f"_{name}"
        lent = V2Group(path.name, path, self._controllers)
        lent.make()
        lent.limit(limits)
        daemon, work = path / SHIM / PROCESSES, path / APP / PROCESSES
        for file in (path / PROCESSES, daemon, work):
            os.chown(file, user, group)
        return Lent((daemon,), (work,))


class V2Group(Group):
    """One instance's group and its two leaves."""

    def __init__(self, instance_id: str, path: Path, controllers: list[str]) -> None:
        self.id = instance_id
        self._path = path
        self._controllers = controllers
        self._app = path / APP

    def make(self) -> bool:
        if not make(self._path):
            return False
        _enable(self._path, self._controllers)
        make(self._app)
        make(self._path / SHIM)
        return True

    def entrances(self, *, shim: bool) -> tuple[Path, ...]:
        return (self._path / SHIM if shim else self._app,)

    def limit(self, limits: Limits) -> None:
        used = self._memory_in_use()
        if used > limits.memory_bytes:
            # a lower memory.max would kill at once, where cgroup v1 refuses
            raise refuse_memory(self._path, limits, used, None)
        for path in (self._path, self._app):
            write(path / "cpu.max", f"{cpu_quota_us(limits)} {CPU_PERIOD_US}")
        write(self._path / "cpu.weight", limits.cpu_weight)
        for name, most in (("io.weight", 10_000), ("io.bfq.weight", BFQ_MOST)):
            with suppress(OSError):  # the controller may be missing, or the disk's scheduler know no weights
                write(self._path / name, min(most, limits.cpu_weight))
        try:
            write(self._app / "memory.max", limits.memory_bytes)
            with suppress(FileNotFoundError):
                write(self._app / "memory.swap.max", limits.swap_bytes)
        except OSError as error:
            raise CgroupError(f"{self._app}: memory.max: {error.strerror}") from error
        write(self._app / "pids.max", limits.pids)

    def _memory_in_use(self) -> int:
        reclaimable = read_flat(self._app / "memory.stat").get("inactive_file", 0)
        return max(0, read_number(self._app / "memory.current") - reclaimable)

    def kill(self) -> None:
        with suppress(FileNotFoundError):
            write(self._app / "cgroup.kill", 1)

    def set_frozen(self, frozen: bool) -> None:
        with suppress(FileNotFoundError):
            write(self._app / "cgroup.freeze", int(frozen))

    def pids(self) -> list[int]:
        return read_pids(self._app / PROCESSES)

    def stats(self) -> Stats:
        cpu = read_flat(self._path / "cpu.stat")
        memory = self._memory_in_use()
        return Stats(
            memory_bytes=memory,
            # memory.peak is younger than some kernels that are supported (6.1 has it, 5.x has not)
            peak_memory_bytes=read_number(self._app / "memory.peak", memory),
            cpu_usec=cpu.get("usage_usec", 0),
            throttled_usec=cpu.get("throttled_usec", 0),
            pids=read_number(self._app / "pids.current"),
            oom_kills=self.oom_kills(),
        )

    def oom_kills(self) -> int:
        return read_flat(self._app / "memory.events").get("oom_kill", 0)

    def watch_oom(self) -> OomWatch:
        """`memory.events` itself: it reports EPOLLPRI after each change until it is read again."""
        watch = OomWatch(os.open(self._app / "memory.events", os.O_RDONLY | os.O_CLOEXEC), select.EPOLLPRI)
        watch.clear()
        return watch

    def view(self) -> list[tuple[Path, str]]:
        return [(self._app, "")]

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            write(self._path / "cgroup.kill", 1)
        remove_tree(self._path)


def _enable(path: Path, controllers: list[str]) -> None:
    """Hand controllers down to the groups below. Raises CgroupError when the group itself holds processes."""
    present = read(path / "cgroup.subtree_control").split()
    wanted = " ".join(f"+{name}" for name in controllers if name not in present)
    if not wanted:
        return
    try:
        write(path / "cgroup.subtree_control", wanted)
    except OSError as error:
        hint = "; processes live in it" if error.errno == errno.EBUSY else ""
        raise CgroupError(f"{path} cannot hand down {wanted}: {error.strerror}{hint}") from error
