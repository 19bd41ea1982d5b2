"""Start a daemon as its own user, in a mount namespace that shows it its own folders and nothing else of the home.

Folders that the user may not enter (a checkout below a 0700 home directory, say) are covered by an empty tmpfs
on which exactly the needed paths are bound: that makes them reachable, and it is the daemon's sandbox too.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import paas
from paas.host.accounts import Account
from runtime import cgroup
from runtime.kernel import syscalls
from runtime.kernel.forked import fork

_NO_SUID_DEV = syscalls.MS_NOSUID | syscalls.MS_NODEV
_REMOUNT_READ_ONLY = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | _NO_SUID_DEV


@dataclass(frozen=True)
class View:
    """What a daemon sees: `hidden` folders are covered; below them only these paths show."""

    hidden: tuple[Path, ...]
    read_only: tuple[Path, ...]
    writable: tuple[Path, ...]


def code_paths() -> tuple[Path, ...]:
    """What the interpreter needs: the virtual environment, the base installation, the folder of the packages."""
    packages = Path(paas.__file__).resolve().parent.parent
    paths = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent, packages}
    return tuple(sorted(path.resolve() for path in paths))


def covers(paths: Iterable[Path], uid: int, gid: int, always: Iterable[Path] = ()) -> set[Path]:
    """The topmost ancestor of each path that the user may not enter, and `always`."""
    found = {path.resolve() for path in always}
    for path in paths:
        for ancestor in reversed(path.resolve().parents):
            if not _may_enter(ancestor, uid, gid):
                found.add(ancestor)
                break
    return found


def _may_enter(path: Path, uid: int, gid: int) -> bool:
    status = path.stat()
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def enter_view(view: View, account: Account) -> None:
    """Replace this process's view of the file system. Call in a forked child, as root, before the ids are dropped."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    wanted = {path.resolve(): True for path in view.read_only} | {
        path.resolve(): False for path in view.writable
    }
    covered = covers(wanted, account.uid, account.gid, view.hidden)
    sources = {
        path: os.open(path, os.O_PATH | os.O_CLOEXEC)
        for path in wanted
        if any(cover == path or cover in path.parents for cover in covered)
    }
    mounted = []
    for path in sorted(covered | set(sources)):
        if path in covered and path.exists():
            syscalls.mount("tmpfs", str(path), "tmpfs", _NO_SUID_DEV, "mode=0755,size=1m")
            mounted.append(path)
        if path in sources:
            _bind(sources[path], path, wanted[path])
    for path in mounted:
        if path not in sources:
            syscalls.mount("none", str(path), None, _REMOUNT_READ_ONLY)
    for descriptor in sources.values():
        os.close(descriptor)


def _bind(descriptor: int, path: Path, read_only: bool) -> None:
    source = f"/proc/self/fd/{descriptor}"
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    else:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.touch(exist_ok=True)
    syscalls.mount(source, str(path), None, syscalls.MS_BIND | syscalls.MS_REC)
    if read_only:
        syscalls.mount("none", str(path), None, _REMOUNT_READ_ONLY)


def become(account: Account) -> None:
    """Drop to the account for good: no supplementary groups, no way back."""
    if account.uid == 0:
        return
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


@dataclass(frozen=True)
class Program:
    """A program to start. `keep` are descriptors passed down under their numbers, `groups` the `cgroup.procs` files of
    the groups to be in."""

    argv: tuple[str, ...]
    account: Account
    view: View | None
    environ: Mapping[str, str]
    keep: tuple[int, ...] = ()
    groups: tuple[Path, ...] = ()
    die_with_parent: bool = True


def start(program: Program) -> int:
    """Fork, sandbox, drop privileges, execute; the new process's id."""
    return fork(f"start of {' '.join(program.argv[1:4])}", partial(_execute, program, os.getpid()))


def _execute(program: Program, parent: int) -> int:
    _reset_signals()
    os.umask(0o022)
    cgroup.enter(program.groups)
    if program.view is not None:
        enter_view(program.view, program.account)
    become(program.account)
    os.umask(0o007 if program.account.uid else 0o022)
    if program.die_with_parent:  # set here because a change of ids clears it, prctl(2)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that
            return 1
    for descriptor in program.keep:
        os.set_inheritable(descriptor, True)
    os.chdir("/")
    os.execve(program.argv[0], program.argv, dict(program.environ))


def _reset_signals() -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
