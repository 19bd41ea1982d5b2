"""Confines a forked process to one job: parse hostile bytes and write to one place.

Call it in a single-threaded child, after everything the child needs is imported and open. With root it also changes the
user and the view of the file system; without root Landlock, resource limits and the system call filter remain.
A kernel before 5.13 has no Landlock; nothing else is ever skipped silently.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import signal
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.kernel import caps, seccomp_children, syscalls

MIB = 1024 * 1024
BOX_USER = "paas-box"

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 3 << 4, 1 << 6, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_KNOWN_SINCE = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_TCP_SINCE = 4
_TCP = 3

_FIRST_TO_GO = 500

READ = _READ_FILE | _READ_DIR
WRITE = READ | _WRITE_FILE | _REMOVE | _MAKE_CHAR | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
RUN = READ | _EXECUTE


class ConfineError(Exception):
    """The process cannot be confined; it must not go on."""


@dataclass(frozen=True)
class Bounds:
    """What a confined process may use. Paths are folders or files; sizes are bytes, times seconds.

    `memory_bytes` is address space beyond what the process has when it is confined. With `programs` it may run the programs
    below `run`. With `talks` it uses the sockets it keeps, and opens no file. After `wall_s` SIGALRM ends it and the
    program it runs. `tasks` is how many processes and threads its user may have.
    """

    read: Sequence[str | os.PathLike[str]] = ()
    write: Sequence[str | os.PathLike[str]] = ()
    run: Sequence[str | os.PathLike[str]] = ()
    programs: bool = False
    talks: bool = False
    memory_bytes: int = 512 * MIB
    file_bytes: int = 4096 * MIB
    open_files: int = 4096
    cpu_s: int = 300
    wall_s: float | None = None
    tasks: int | None = None


@dataclass(frozen=True)
class User:
    """The ids that a confined child gets. Needs root.

    With `namespace` (a descriptor of a user namespace) they are ids in it, and the child keeps the capabilities
    `caps.OWNERS` over what the namespace's ids own: it may read and give away such files.
    """

    uid: int
    gid: int
    namespace: int | None = None


def box_user(name: str = BOX_USER) -> User:
    """The system user of confined children. Raises ConfineError when it is missing."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfineError(f"there is no user {name}; make it with: useradd --system {name}") from None
    return User(entry.pw_uid, entry.pw_gid)


def confine(
    bounds: Bounds,
    *,
    keep: Sequence[int] = (),
    user: User | None = None,
    view: Mapping[str, int] | None = None,
    parent: int | None = None,
) -> tuple[str, ...]:
    """Confine this process for good; returns the names of the defences in force, for logs and tests.

    Descriptors other than 0, 1, 2 and `keep` are closed. `view` (see `own_view`) and `user` need root. With
    `parent` (a pid) the process dies with it. Raises OSError or ConfineError if a defence that this kernel has
    cannot be set up.
    """
    _limit(bounds)
    _go_first()
    namespace = () if user is None or user.namespace is None else (user.namespace,)
    syscalls.close_all_except((*keep, *(view or {}).values(), *namespace))
    layers = []
    if view is not None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        own_view(view)
        layers.append("view")
    if user is not None:
        become(user)
        layers.append("user")
    if parent is not None:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if restrict_files(bounds):
        layers.append("landlock")
    program = seccomp_children.compile_filter(programs=bounds.programs, talks=bounds.talks)
    if program is not None:
        syscalls.seccomp(program)
        layers.append("seccomp")
    return tuple(layers)


def become(user: User) -> None:
    """Change every id to `user`'s and give up every capability but those that a namespace brings. Needs CAP_SETUID,
    CAP_SETGID, CAP_SETPCAP, for a namespace CAP_SYS_ADMIN."""
    if user.uid == 0 or user.gid == 0:
        raise ConfineError("a confined child cannot be root")
    keep = 0
    if user.namespace is not None:
        syscalls.setns(user.namespace, syscalls.CLONE_NEWUSER)
        os.close(user.namespace)
        keep = caps.OWNERS
    caps.drop_bounding()
    os.setgroups([])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    caps.drop(keep)


def own_view(views: Mapping[str, int]) -> None:
    """Replace the file system by an empty read-only one that holds only `views`: name → detached mount.

    Call it in a private mount namespace. The mounts (open_tree(2)) appear as folders `/NAME`; their descriptors are
    closed. Needs root. Nothing of Python may be imported afterwards.
    """
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("paas-view", "/tmp", "tmpfs", flags, "size=64k,nr_inodes=64,mode=755")
    os.chdir("/tmp")
    for name, fd in views.items():
        os.mkdir(name, 0o755)
        syscalls.move_mount(fd, "", syscalls.AT_FDCWD, name, syscalls.MOVE_MOUNT_F_EMPTY_PATH)
        os.close(fd)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")
    syscalls.mount("none", "/", None, flags | syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY)


def landlock_rights() -> tuple[int, int]:
    """The access rights to files and to TCP that this kernel's Landlock knows; (0, 0) without Landlock."""
    abi = syscalls.landlock_abi()
    files = 0
    for since, rights in _KNOWN_SINCE.items():
        files |= rights if abi >= since else 0
    return files, _TCP if abi >= _TCP_SINCE else 0


def restrict_files(bounds: Bounds) -> bool:
    """Landlock: only the folders of `bounds`, no TCP. False if the kernel has no Landlock."""
    files, tcp = landlock_rights()
    if not files:
        return False
    ruleset = syscalls.landlock_create_ruleset(files, tcp)
    try:
        for paths, rights in ((bounds.read, READ), (bounds.write, WRITE), (bounds.run, RUN)):
            for path in paths:
                _allow(ruleset, path, rights & files)
        syscalls.landlock_restrict_self(ruleset)
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str | os.PathLike[str], rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        syscalls.landlock_add_path(ruleset, fd, rights if folder else rights & _OF_FILES)
    finally:
        os.close(fd)


def _go_first() -> None:
    """Make the kernel kill a confined child before the daemon it works for, when memory is short (proc(5)).

    This is no defence: a process that is not dumpable may not write the file, and goes on without.
    """
    with contextlib.suppress(PermissionError), open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) < _FIRST_TO_GO:
            file.seek(0)
            file.write(str(_FIRST_TO_GO))


def _limit(bounds: Bounds) -> None:
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    if bounds.wall_s is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, bounds.wall_s)
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, pages * resource.getpagesize() + bounds.memory_bytes),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_CPU, bounds.cpu_s),
        (resource.RLIMIT_NOFILE, bounds.open_files),
    ]
    if bounds.tasks is not None:
        limits.append((resource.RLIMIT_NPROC, bounds.tasks))
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))
