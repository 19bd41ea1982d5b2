"""A container's root: what is written beforehand, and the plan of mounts that makes it complete.

The image is hostile. Folders the runtime mounts on are made as ordinary ones in the upper directory, where they
shadow whatever an image has under those names (a link, a file), and files of ours (hosts, resolv.conf) likewise.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.container.mounts import (
    NO_SUID_DEV_EXEC,
    Bind,
    Device,
    Filesystem,
    Folder,
    Mask,
    Operation,
    ReadOnly,
    ReadOnlyMount,
    RootfsError,
    Symlink,
)
from runtime.kernel import syscalls as sc
from runtime.spec import MIB

__all__ = ["CgroupView", "Plan", "RootfsError", "make_upper", "mount_overlay", "plan"]

_SKELETON = {"proc": 0o555, "sys": 0o555, "dev": 0o755, "etc": 0o755, "tmp": 0o1777, "app": 0o755}
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
}  # fmt: skip
_MASKED = (
    "proc/acpi", "proc/asound", "proc/kallsyms", "proc/kcore", "proc/keys",
    "proc/latency_stats", "proc/modules", "proc/sched_debug", "proc/scsi", "proc/timer_list", "proc/timer_stats",
    "sys/devices/virtual/powercap", "sys/firmware", "sys/kernel/slab", "sys/kernel/vmcoreinfo",
)  # fmt: skip
"""Secrets, addresses and names of the kernel and the machine; not its counters of activity (docs/isolation.md)."""

_READ_ONLY = ("proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger")
_QUIET = sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
_LAYER = sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_IDMAP
_TTY_GROUP = 5
_MAX_PTYS = 64


@dataclass(frozen=True)
class CgroupView:
    """One bind below /sys/fs/cgroup: a detached mount of the instance's group, and its name there."""

    source: int
    name: str


@dataclass(frozen=True)
class Plan:
    """What varies between the mounts of containers."""

    id_base: int
    memory_bytes: int
    cgroups: Sequence[CgroupView] = ()
    binds: Sequence[Bind] = ()
    bare: bool = False


def make_upper(folder: Path, id_base: int, app_owner: int | None, files: dict[str, str]) -> None:
    """Make `upper` and `work` in `folder` with the skeleton; without an owner of it no /app; `files` are names in /etc."""
    upper, work = folder / "upper", folder / "work"
    work.mkdir(mode=0o700)
    _folder(upper, 0o755, id_base)
    for name, mode in _SKELETON.items():
        if name != "app":
            _folder(upper / name, mode, id_base)
        elif app_owner is not None:
            _folder(upper / name, mode, id_base + app_owner)
    for name, content in files.items():
        path = upper / "etc" / name
        path.write_text(content)
        os.chmod(path, 0o644)
        os.chown(path, id_base, id_base)


def _folder(path: Path, mode: int, owner: int) -> None:
    path.mkdir()
    os.chmod(path, mode)
    os.chown(path, owner, owner)


def mount_overlay(stage: Path, layers: Sequence[int], userns_fd: int, instance: int) -> int:
    """Stack the layers, lowest first, below the upper folder; returns a descriptor of the root.

    Layers and the instance's folder are detached mounts. To be called in the container's own mount namespace. Layers are idmapped into `userns_fd` and attached at
    short names below `stage`, so that 120 of them fit mount(2)'s page of options on every kernel from 6.1 on.
    """
    sc.mount("tmpfs", os.fspath(stage), "tmpfs", _QUIET, "mode=700,size=64k")
    os.chdir(stage)
    names = []
    for number, layer in enumerate(layers):
        names.append(str(number))
        _attach(layer, names[-1], _LAYER, userns_fd)
    _attach(instance, "i", sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV)
    os.mkdir("root")
    options = (
        f"lowerdir={':'.join(reversed(names))},upperdir=i/upper,workdir=i/work,"
        "redirect_dir=nofollow,metacopy=off,index=off,volatile"
    )
    sc.mount("overlay", "root", "overlay", sc.MS_NOSUID | sc.MS_NODEV, options)
    return os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _attach(tree: int, name: str, attributes: int, userns_fd: int = 0) -> None:
    os.mkdir(name)
    sc.mount_setattr(tree, attributes, userns_fd=userns_fd)
    sc.move_mount(tree, "", sc.AT_FDCWD, name, sc.MOVE_MOUNT_F_EMPTY_PATH)


def plan(wanted: Plan) -> list[Operation]:
    """Every mount above the overlay, in order. Pure."""
    base = wanted.id_base
    half = max(MIB, wanted.memory_bytes // 2)
    owner = f"uid={base},gid={base}"
    operations: list[Operation] = [
        Filesystem("proc", "proc", _QUIET),
        Filesystem("sysfs", "sys", _QUIET | sc.MS_RDONLY),
        Filesystem("tmpfs", "dev", sc.MS_NOSUID | sc.MS_NOEXEC, f"mode=755,size=64k,nr_inodes=64,{owner}"),
        *(Device(f"dev/{name}", *number) for name, number in _DEVICES.items()),
        *(Symlink(f"dev/{name}", target) for name, target in _LINKS.items()),
        Folder("dev/pts"),
        Filesystem(
            "devpts",
            "dev/pts",
            sc.MS_NOSUID | sc.MS_NOEXEC,
            f"newinstance,ptmxmode=0666,mode=0620,max={_MAX_PTYS},gid={base + _TTY_GROUP},uid={base}",
        ),
        Folder("dev/shm", 0o1777),
        Filesystem("tmpfs", "dev/shm", _QUIET, f"mode=1777,size={half},nr_inodes=16k,{owner}"),
        *(() if wanted.bare else (_tmp(half, owner),)),
        ReadOnlyMount("dev", sc.MS_NOSUID | sc.MS_NOEXEC),
        *_cgroups(wanted.cgroups),
        *sorted(wanted.binds, key=lambda bind: bind.target.split("/")),
        *(ReadOnly(path) for path in _READ_ONLY),
        *(Mask(path) for path in _MASKED),
    ]
    return operations


def _tmp(size: int, owner: str) -> Filesystem:
    return Filesystem(
        "tmpfs", "tmp", sc.MS_NOSUID | sc.MS_NODEV, f"mode=1777,size={size},nr_inodes=64k,{owner}"
    )


def _cgroups(views: Sequence[CgroupView]) -> list[Operation]:
    attributes = NO_SUID_DEV_EXEC | sc.MOUNT_ATTR_RDONLY
    if any(not view.name for view in views):
        return [Bind(view.source, "sys/fs/cgroup", attributes, strict=True) for view in views[:1]]
    if not views:
        return []
    return [
        Filesystem("tmpfs", "sys/fs/cgroup", _QUIET, "mode=755,size=16k,nr_inodes=32"),
        *(Folder(f"sys/fs/cgroup/{view.name}") for view in views),
        *(Bind(view.source, f"sys/fs/cgroup/{view.name}", attributes, strict=True) for view in views),
        ReadOnlyMount("sys/fs/cgroup", _QUIET),
    ]
