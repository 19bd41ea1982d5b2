"""What both cgroup versions share: what a group and a platform's groups can do, and reading and writing control files."""

from __future__ import annotations

import os
import select
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.spec import MIB, Limits

CPU_PERIOD_US = 100_000
"""Length of the window in which a cpu quota is counted."""

_LEAST_QUOTA_US = 1000
"""The kernel takes no smaller quota: 10 thousandths of a core."""

BFQ_MOST = 1000
"""The largest weight that the disk scheduler bfq takes."""

PROCESSES = "cgroup.procs"
"""The control file that lists a group's processes, and that a process is moved in by."""

REMOVE_TIMEOUT_S = 5.0


class CgroupError(Exception):
    """The kernel refused something about a control group; the message says which group and why."""


@dataclass(frozen=True)
class Stats:
    """The present use of a group. `memory_bytes` is without file cache that the kernel could drop at once."""

    memory_bytes: int = 0
    peak_memory_bytes: int = 0
    cpu_usec: int = 0
    throttled_usec: int = 0
    pids: int = 0
    oom_kills: int = 0


class OomWatch:
    """A descriptor for epoll that becomes ready when the kernel kills for memory (register it with `events`)."""

    def __init__(self, descriptor: int, events: int, *, other: int = -1) -> None:
        self._descriptor = descriptor
        self._other = other
        self.events = events

    def fileno(self) -> int:
        return self._descriptor

    def clear(self) -> None:
        """Read the notice away, so that the descriptor is quiet until the next one."""
        with suppress(OSError):
            if self.events & select.EPOLLPRI:
                os.pread(self._descriptor, 4096, 0)
            else:
                os.read(self._descriptor, 8)

    def close(self) -> None:
        for descriptor in (self._descriptor, self._other):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._other = -1


class Group(ABC):
    """The control groups of one instance, whatever their version. `id` is the instance's."""

    id: str

    @abstractmethod
    def make(self) -> bool:
        """Make the folders; False if there were any."""

    @abstractmethod
    def entrances(self, *, shim: bool) -> tuple[Path, ...]:
        """The folders that a process of the app, or the shim, is moved into."""

    def join(self, pid: int, *, shim: bool = False) -> None:
        """Move a process in, with all its threads. A shim is charged for cpu only and survives `kill`."""
        for folder in self.entrances(shim=shim):
            try:
                write(folder / PROCESSES, pid)
            except OSError as error:
                raise CgroupError(f"process {pid} cannot join {folder}: {error.strerror}") from error

    @abstractmethod
    def limit(self, limits: Limits) -> None:
        """Set every quota. Raises CgroupError when more memory is in use than the new limit allows."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL to every process of the app; returns at once, they may still be dying."""

    @abstractmethod
    def set_frozen(self, frozen: bool) -> None: ...

    @abstractmethod
    def pids(self) -> list[int]:
        """The app's processes, without the shim."""

    @abstractmethod
    def stats(self) -> Stats: ...

    @abstractmethod
    def oom_kills(self) -> int: ...

    @abstractmethod
    def watch_oom(self) -> OomWatch: ...

    @abstractmethod
    def view(self) -> list[tuple[Path, str]]:
        """`(source, target)` binds, to be made read-only: what the app may see below /sys/fs/cgroup."""

    @abstractmethod
    def remove(self) -> None:
        """Kill what is left, the shim too, and remove the folders. Nothing happens when they are gone."""


@dataclass(frozen=True)
class Lent:
    """A group that a daemon moves its own children into: the files to write a process id to.

    `daemon` is for the daemon itself, before it gives up root (v2 lets nobody else move from one group to another).
    """

    daemon: tuple[Path, ...]
    work: tuple[Path, ...]


def enter(files: Iterable[Path]) -> None:
    """Move this process into the groups of these `cgroup.procs` files. Raises OSError."""
    for path in files:
        write(path, 0)


def work_limits() -> Limits:
    """Bounds of all work of one daemon on tenants' data: it yields to apps and to the router."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = os.cpu_count() or 1
    return Limits(
        memory_bytes=min(memory // 4, 2048 * MIB), cpu_millis=1000 * cores, cpu_weight=25, pids=1024
    )


class Cgroups(ABC):
    """All groups of one platform, below `tops`: its own folder in each hierarchy."""

    version: str
    tops: tuple[Path, ...]

    @abstractmethod
    def group(self, instance_id: str) -> Group:
        """The groups of an instance, which need not exist."""

    def create(self, instance_id: str, limits: Limits) -> Group:
        """Make the groups of an instance; what an earlier one of that id left is killed and removed first."""
        group = self.group(instance_id)
        if not group.make():
            group.remove()
            group.make()
        group.limit(limits)
        return group

    def groups(self) -> list[str]:
        """Ids of instances that have a folder in any hierarchy, sorted."""
        return sorted({name for top in self.tops for name in subgroups(top) if name[0] != "_"})

    @abstractmethod
    def lend(self, name: str, limits: Limits, user: int, group: int) -> Lent:
        """Make the group `_NAME`, into which that user may move its own processes; no instance has such a name."""

    def remove(self) -> None:
        """Remove every group of the platform and the platform's own."""
        for instance_id in self.groups():
            self.group(instance_id).remove()
        for top in self.tops:
            remove_tree(top)


def cpu_quota_us(limits: Limits) -> int:
    """The processor time that all processes of a group may use in each CPU_PERIOD_US."""
    return max(_LEAST_QUOTA_US, limits.cpu_millis * CPU_PERIOD_US // 1000)


def read(path: Path) -> str:
    """The content of a control file, without the line end. Raises OSError."""
    return path.read_text(encoding="ascii").rstrip("\n")


def read_number(path: Path, default: int = 0) -> int:
    """A number from a control file; `default` if the group or the file is gone or holds a word (`max`)."""
    try:
        return int(read(path))
    except (OSError, ValueError):
        return default


def read_flat(path: Path) -> dict[str, int]:
    """A file of `key number` lines; empty if it is gone."""
    try:
        text = read(path)
    except OSError:
        return {}
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def write(path: Path, value: str | int) -> None:
    """One write(2), as control files want it. Raises OSError with the errno of the kernel's refusal."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode("ascii"))
    finally:
        os.close(descriptor)


def read_pids(path: Path) -> list[int]:
    """The pids in a `cgroup.procs` file; empty if the group is gone."""
    try:
        return [int(word) for word in read(path).split() if word != "0"]
    except OSError:
        return []


def kill_each(pids: list[int]) -> None:
    """SIGKILL to processes that were just read from a group; those that have ended meanwhile are skipped."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def make(path: Path) -> bool:
    """Make a group; returns whether it is new."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def subgroups(path: Path) -> list[str]:
    """Names of the groups directly below, empty if the group is gone."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def remove_tree(path: Path, timeout_s: float = REMOVE_TIMEOUT_S) -> None:
    """Remove a group and those below it, killing its processes until the kernel lets it go.

    Raises CgroupError if something in it cannot be killed in `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    for pause in _pauses():
        for name in subgroups(path):
            remove_tree(path / name, max(0.0, deadline - time.monotonic()))
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise CgroupError(
                    f"{path}: {error.strerror}; processes {read_pids(path / PROCESSES)}"
                ) from error
            kill_each(read_pids(path / PROCESSES))
            time.sleep(pause)
        else:
            return


def _pauses() -> Iterator[float]:
    pause = 0.001
    while True:
        yield pause
        pause = min(pause * 2, 0.05)


def refuse_memory(group: Path, limits: Limits, used: int, cause: OSError | None) -> CgroupError:
    return CgroupError(
        f"{group.name}: {used} bytes of memory are in use, more than the new limit of {limits.memory_bytes}"
        + (f" ({cause.strerror})" if cause else "")
    )
