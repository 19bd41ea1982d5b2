"""User namespaces of apps: a range of 65,536 ids each, which the spawner keeps open as descriptors.

Id 0 in a container is `id_base` outside. An instance enters its app's namespace last, after all its mounts; the same
descriptor maps the owners of shared layers (mount_setattr(2), MOUNT_ATTR_IDMAP).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress

from runtime.kernel import syscalls
from runtime.spec import ID_RANGE

_KEEP = 256


class UserNamespaces:
    """One namespace per id range, made at the first use; the least recently used are closed."""

    def __init__(self, keep: int = _KEEP) -> None:
        self._open: OrderedDict[int, int] = OrderedDict()
        self._keep = keep

    def get(self, id_base: int) -> int:
        """A descriptor of the namespace of this range. Do not close it."""
        if id_base in self._open:
            self._open.move_to_end(id_base)
            return self._open[id_base]
        while len(self._open) >= self._keep:
            os.close(self._open.popitem(last=False)[1])
        self._open[id_base] = make(id_base)
        return self._open[id_base]


def make(id_base: int, *, first: int = 0, count: int = ID_RANGE, gid_base: int | None = None) -> int:
    """A new user namespace in which ids `first`… are `id_base`…, and in which no further one can be made.

    Groups are numbered from `gid_base` when that differs.
    """
    ready_r, ready_w = os.pipe2(os.O_CLOEXEC)
    go_r, go_w = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(ready_w, go_r)
    try:
        os.close(ready_w)
        os.close(go_r)
        if os.read(ready_r, 1) != b"u":
            raise OSError("no user namespace: the kernel refused unshare(CLONE_NEWUSER)")
        for name, base in (("uid_map", id_base), ("gid_map", id_base if gid_base is None else gid_base)):
            _write(f"/proc/{pid}/{name}", f"{first} {base} {count}")
        os.write(go_w, b"m")
        if os.read(ready_r, 1) != b"n":
            raise OSError("the number of nested user namespaces cannot be limited")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for fd in (ready_r, go_w):
            os.close(fd)
        os.waitpid(pid, 0)


def _child(ready_w: int, go_r: int) -> None:
    """Hold the namespace until the parent has it open. Never returns."""
    with suppress(BaseException):
        syscalls.close_all_except((ready_w, go_r), first=0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(ready_w, b"u")
        os.read(go_r, 1)
        _write("/proc/sys/user/max_user_namespaces", "0")
        os.write(ready_w, b"n")
        os.read(go_r, 1)
    os._exit(0)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
