"""Kernel calls that Python does not offer, one small function each, named as in section 2 of the manual.

The only ctypes of the runtime. Every function raises OSError with the kernel's errno. Symbols are resolved and
argument types declared at import: after `pivot_root` nothing may be looked up in a tenant's file system.
System call numbers are the unified ones (>= 424) or taken from the table of the machine's architecture.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1
KEYCTL_JOIN_SESSION_KEYRING = 1

_NUMBERS = {
    "x86_64": {"pivot_root": 155, "keyctl": 250, "seccomp": 317, "execveat": 322, "capset": 126},
    "aarch64": {"pivot_root": 41, "keyctl": 219, "seccomp": 277, "execveat": 281, "capset": 91},
}
_NR = _NUMBERS.get(os.uname().machine, {})
_OPEN_TREE, _MOVE_MOUNT, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 428, 429, 436, 437, 442
_M_ARENA_MAX = -8
_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE_RULESET_VERSION, _LANDLOCK_RULE_PATH_BENEATH = 1, 1
_PAGE, _OPENAT2_ATTEMPTS = 4096, 128
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _word(argument: object) -> object:
    """An argument as it goes into a register: a whole one for a number, the address of a text's bytes."""
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    return os.fsencode(argument) if isinstance(argument, str) else argument


def _call(name: str, number: int, *arguments: object) -> int:
    return _check(_syscall(ctypes.c_long(number), *map(_word, arguments)), name)


# mounts

_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2). The options must fit one page of 4096 bytes."""
    encoded = None if data is None else os.fsencode(data)
    if encoded is not None and len(encoded) > _PAGE - 1:
        raise OSError(errno.E2BIG, f"mount {target}: options of {len(encoded)} bytes are longer than a page")
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), None if kind is None else kind.encode(), flags, encoded
    )
    _check(result, f"mount {kind or source} at {target}")


def umount2(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    _call("pivot_root", _NR["pivot_root"], new, old)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2): a detached copy of a mount (OPEN_TREE_CLONE), as a descriptor."""
    return _call("open_tree", _OPEN_TREE, dirfd, path, flags)


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None:
    _call("move_mount", _MOVE_MOUNT, from_fd, from_path, to_fd, to_path, flags)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_setattr(fd: int, set_flags: int, *, userns_fd: int = 0, recursive: bool = False) -> None:
    """mount_setattr(2) on the mount that `fd` is: attributes, and an id mapping with MOUNT_ATTR_IDMAP."""
    attr = _MountAttr(set_flags, 0, 0, userns_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _call("mount_setattr", _MOUNT_SETATTR, fd, "", flags, ctypes.byref(attr), ctypes.sizeof(attr))


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dirfd: int, path: str | bytes, flags: int, *, resolve: int, mode: int = 0) -> int:
    """openat2(2), close-on-exec always. Retries EAGAIN, which a concurrent rename causes."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    words = [_word(word) for word in (_OPENAT2, dirfd, path, ctypes.byref(how), ctypes.sizeof(how))]
    for _ in range(_OPENAT2_ATTEMPTS):
        result: int = _syscall(*words)
        if result >= 0 or ctypes.get_errno() != errno.EAGAIN:
            break
    return _check(result, f"open {os.fsdecode(path)}")


# namespaces, processes

_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int = 0) -> None:
    _check(_libc.setns(fd, kind), "setns")


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    result: int = _libc.prctl(option, arg2, arg3, arg4, arg5)
    return _check(result, f"prctl {option}")


def one_heap() -> None:
    """Let all threads share one heap of the C library; by default each reserves address space (mallopt(3))."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, 1)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2), version 3, for the calling thread. The arguments are bit masks of capabilities."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    words = []
    for shift in (0, 32):
        words += [(mask >> shift) & 0xFFFFFFFF for mask in (effective, permitted, inheritable)]
    _call("capset", _NR["capset"], ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(*words)))


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def seccomp(program: bytes) -> None:
    """Install a classic BPF program (8 bytes an instruction) for this thread, for ever."""
    buffer = ctypes.create_string_buffer(program, len(program))
    prog = _SockFprog(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    _call("seccomp", _NR["seccomp"], SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(prog))


def close_range(first: int, last: int) -> None:
    _call("close_range", _CLOSE_RANGE, first, last, 0)


def close_all_except(keep: Sequence[int], *, first: int = 3) -> None:
    """Close every descriptor from `first` on that is not in `keep`."""
    for fd in sorted(set(keep)):
        if fd < first:
            continue
        if fd > first:
            close_range(first, fd - 1)
        first = fd + 1
    close_range(first, 0xFFFFFFFF)


class ExecImage:
    """Arguments of execveat(2) laid out in memory ahead of time."""

    def __init__(self, argv: Sequence[bytes], env: Sequence[bytes]) -> None:
        self.argv = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
        self.env = (ctypes.c_char_p * (len(env) + 1))(*env, None)


_libc.syncfs.argtypes = (ctypes.c_int,)


def syncfs(fd: int) -> None:
    """Write everything on the file system of `fd` to the disk."""
    _check(_libc.syncfs(fd), "syncfs")


def execveat(fd: int, image: ExecImage) -> None:
    """Run the program that `fd` (O_PATH is enough) is open on. Returns only by raising."""
    _call("execveat", _NR["execveat"], fd, "", image.argv, image.env, AT_EMPTY_PATH)


def join_new_session_keyring() -> None:
    """keyctl(2): an anonymous session keyring of our own, since keyrings belong to no namespace."""
    _call("keyctl", _NR["keyctl"], KEYCTL_JOIN_SESSION_KEYRING, None)


# landlock(7)


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_abi() -> int:
    """The version of Landlock in this kernel, 0 for none."""
    words = [_word(word) for word in (_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)]
    result: int = _syscall(*words)
    return max(result, 0)


def landlock_create_ruleset(handled_fs: int, handled_net: int = 0) -> int:
    attr = _RulesetAttr(handled_fs, handled_net)
    size = ctypes.sizeof(attr) if handled_net else 8
    return _call("landlock_create_ruleset", _LANDLOCK_CREATE_RULESET, ctypes.byref(attr), size, 0)


def landlock_add_path(ruleset: int, parent_fd: int, access: int) -> None:
    """Allow `access` at and below the file that `parent_fd` is open on."""
    attr = ctypes.byref(_PathBeneath(access, parent_fd))
    _call("landlock_add_rule", _LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, attr, 0)


def landlock_restrict_self(ruleset: int) -> None:
    _call("landlock_restrict_self", _LANDLOCK_RESTRICT_SELF, ruleset, 0)
