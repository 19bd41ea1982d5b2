"""cgroup v1: a group per instance in every hierarchy, and one in the v2 tree beside them where it is mounted.

Source: Documentation/admin-guide/cgroup-v1 of the kernel. The v2 tree of a hybrid set-up has no useful controller, but it
can kill and freeze; without it the freezer hierarchy does both.
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
    kill_each,
    make,
    read,
    read_flat,
    read_number,
    read_pids,
    refuse_memory,
    remove_tree,
    write,
)
from runtime.spec import MIB, Limits

_BLKIO = "blkio"
CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "cpuset", "devices", "freezer", _BLKIO)
_SHARES, _LEAST_SHARES = 1024, 2
"""What v1 calls a weight of 100, and its least."""

REQUIRED = frozenset({"memory", "cpu", "pids"})
_TCP_SHARE, _TCP_LEAST = 8, 8 * MIB
"""The memory limit of v1 does not count the buffers of TCP, as that of v2 does: they get an eighth of it on top."""
VISIBLE = ("memory", "cpu", "cpuacct", "pids", "cpuset")
UNIFIED = "unified"
_SHIM = ("cpu", "cpuacct")
_DEVICES = ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "136:*")
"""null, zero, full, random, urandom, tty, ptmx and the pseudo terminals: character devices an app may open."""


class V1(Cgroups):
    """The groups of one platform. `hierarchies` maps a controller, or `unified`, to where it is mounted."""

    version = "v1"

    def __init__(self, platform_id: str, hierarchies: dict[str, Path]) -> None:
        missing = REQUIRED - set(hierarchies)
        if missing:
            raise CgroupError(f"cgroup v1 controllers are not mounted: {', '.join(sorted(missing))}")
        wanted = [*CONTROLLERS, UNIFIED]
        if UNIFIED in hierarchies:
            wanted.remove("freezer")
        self._name = f"paas-{platform_id}"
        self._roots = {name: hierarchies[name] / self._name for name in wanted if name in hierarchies}
        self.tops = tuple(self._roots.values())
        for name, path in self._roots.items():
            make(path)
            if name == "cpuset":
                _inherit_cpuset(path)

    def group(self, instance_id: str) -> V1Group:
        return V1Group(instance_id, {name: root / instance_id for name, root in self._roots.items()})

    def lend(self, name: str, limits: Limits, user: int, group: int) -> Lent:
        lent = V1Group(f"_{name}", {each: self._roots[each] / f"_{name}" for each in sorted(REQUIRED)})
        lent.make()
        lent.limit(limits)
        work = tuple(path / PROCESSES for path in lent.entrances(shim=False))
        for path in work:
            os.chown(path, user, group)
        return Lent((), work)


class V1Group(Group):
    """One instance's groups: the same name in every hierarchy."""

    def __init__(self, instance_id: str, paths: dict[str, Path]) -> None:
        self.id = instance_id
        self._paths = paths

    def make(self) -> bool:
        fresh = [make(path) for path in dict.fromkeys(self._paths.values())]
        if "cpuset" in self._paths:
            _inherit_cpuset(self._paths["cpuset"])
        if "devices" in self._paths:
            _restrict_devices(self._paths["devices"])
        return all(fresh)

    def entrances(self, *, shim: bool) -> tuple[Path, ...]:
        return tuple(path for name, path in self._paths.items() if name in _SHIM or not shim)

    def limit(self, limits: Limits) -> None:
        self._limit_memory(limits)
        cpu = self._paths["cpu"]
        write(cpu / "cpu.cfs_period_us", CPU_PERIOD_US)
        write(cpu / "cpu.cfs_quota_us", cpu_quota_us(limits))
        write(cpu / "cpu.shares", max(_LEAST_SHARES, limits.cpu_weight * _SHARES // 100))
        write(self._paths["pids"] / "pids.max", limits.pids)
        if _BLKIO in self._paths:
            with suppress(OSError):  # only the scheduler bfq knows weights
                write(self._paths[_BLKIO] / "blkio.bfq.weight", min(BFQ_MOST, limits.cpu_weight))

    def _limit_memory(self, limits: Limits) -> None:
        memory = self._paths["memory"]
        both = memory / "memory.memsw.limit_in_bytes"
        total = limits.memory_bytes + limits.swap_bytes
        steps = [(memory / "memory.limit_in_bytes", limits.memory_bytes)]
        if both.exists():
            # the kernel keeps memory <= memory+swap at every moment, so the order depends on the direction
            growing = limits.memory_bytes > read_number(both)
            steps.insert(0 if growing else 1, (both, total))
        for path, value in steps:
            try:
                write(path, value)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise CgroupError(f"{path}: {value}: {error.strerror}") from error
                used = read_number(memory / "memory.usage_in_bytes")
                raise refuse_memory(memory, limits, used, error) from error
        self._limit_tcp(max(_TCP_LEAST, limits.memory_bytes // _TCP_SHARE))

    def _limit_tcp(self, most_bytes: int) -> None:
        try:
            write(self._paths["memory"] / "memory.kmem.tcp.limit_in_bytes", most_bytes)
        except OSError as error:
            # a kernel without it; or more is queued now than a lowered limit allows, and the old one stays
            if error.errno not in (errno.ENOENT, errno.EBUSY):
                raise CgroupError(f"{error.filename}: {most_bytes}: {error.strerror}") from error

    def kill(self) -> None:
        if UNIFIED in self._paths:
            with suppress(FileNotFoundError):
                write(self._paths[UNIFIED] / "cgroup.kill", 1)
                write(self._paths[UNIFIED] / "cgroup.freeze", 0)
            return
        self.set_frozen(True)
        kill_each(self.pids())
        self.set_frozen(False)

    def set_frozen(self, frozen: bool) -> None:
        with suppress(FileNotFoundError):
            if UNIFIED in self._paths:
                write(self._paths[UNIFIED] / "cgroup.freeze", int(frozen))
            elif "freezer" in self._paths:
                write(self._paths["freezer"] / "freezer.state", "FROZEN" if frozen else "THAWED")

    def pids(self) -> list[int]:
        return read_pids(self._paths["pids"] / PROCESSES)

    def stats(self) -> Stats:
        memory = self._paths["memory"]
        reclaimable = read_flat(memory / "memory.stat").get("total_inactive_file", 0)
        account = self._paths.get("cpuacct", self._paths["cpu"])
        return Stats(
            memory_bytes=max(0, read_number(memory / "memory.usage_in_bytes") - reclaimable),
            peak_memory_bytes=read_number(memory / "memory.max_usage_in_bytes"),
            cpu_usec=read_number(account / "cpuacct.usage") // 1000,
            throttled_usec=read_flat(self._paths["cpu"] / "cpu.stat").get("throttled_time", 0) // 1000,
            pids=read_number(self._paths["pids"] / "pids.current"),
            oom_kills=self.oom_kills(),
        )

    def oom_kills(self) -> int:
        return read_flat(self._paths["memory"] / "memory.oom_control").get("oom_kill", 0)

    def watch_oom(self) -> OomWatch:
        """An eventfd registered in `cgroup.event_control`; it fires a moment before `oom_kills` rises."""
        memory = self._paths["memory"]
        control = os.open(memory / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        notice = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        watch = OomWatch(notice, select.EPOLLIN, other=control)
        try:
            write(memory / "cgroup.event_control", f"{notice} {control}")
        except OSError:
            watch.close()
            raise
        return watch

    def view(self) -> list[tuple[Path, str]]:
        return [(self._paths[name], name) for name in VISIBLE if name in self._paths]

    def remove(self) -> None:
        self.kill()
        for path in self._paths.values():
            remove_tree(path)


def _inherit_cpuset(path: Path) -> None:
    """A new cpuset is empty, and no process can join it before it has processors and memory nodes."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not read(path / name):
            write(path / name, read(path.parent / name))


def _restrict_devices(path: Path) -> None:
    write(path / "devices.deny", "a")
    for device in _DEVICES:
        write(path / "devices.allow", f"c {device} rwm")
