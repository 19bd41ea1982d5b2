"""System calls that a confined child may make: a short list; everything else is refused.

Unlike the filter of instances, which runs anybody's programs, this one serves our own parsers, git, and what speaks
with strangers: no new sockets, no namespaces, no tracing, no signals to others. Numbers of x86_64 and aarch64; None:
no such call there.
"""

from __future__ import annotations

import errno
import platform

from runtime.kernel.seccomp_apps import ARCHITECTURES, RET_ALLOW, RET_ERRNO, Instruction, assemble

Calls = dict[str, tuple[int, int | None]]

FILES: Calls = {
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "creat": (85, None), "flock": (73, 32),
    "pread64": (17, 67), "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70), "lseek": (8, 62),
    "stat": (4, None), "lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291),
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None),
    "readlinkat": (267, 78), "getdents": (78, None), "getdents64": (217, 61), "statfs": (137, 43),
    "fstatfs": (138, 44), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "mknodat": (259, 33), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "utimensat": (280, 88), "truncate": (76, 45), "ftruncate": (77, 46),
    "fallocate": (285, 47), "fsync": (74, 82), "fdatasync": (75, 83), "copy_file_range": (326, 285),
    "sendfile": (40, 71), "fadvise64": (221, 223), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "umask": (95, 166),
}  # fmt: skip

ONESELF: Calls = {
    # what is open already
    "close": (3, 57), "close_range": (436, 436), "read": (0, 63), "write": (1, 64), "readv": (19, 65),
    "writev": (20, 66), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "fstat": (5, 80),
    "pipe": (22, None), "pipe2": (293, 59), "poll": (7, None), "ppoll": (271, 73), "select": (23, None),
    "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None),
    "epoll_pwait": (281, 22), "eventfd2": (290, 19),
    # memory and threads
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214), "membarrier": (324, 283), "mincore": (27, 232), "futex": (202, 98),
    "set_robust_list": (273, 99), "get_robust_list": (274, 100), "set_tid_address": (218, 96),
    "rseq": (334, 293), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getcpu": (309, 168),
    "arch_prctl": (158, None),
    # oneself
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132), "exit": (60, 93),
    "exit_group": (231, 94), "restart_syscall": (219, 128), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150), "getgroups": (115, 158),
    "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "getrandom": (318, 278),
    "getrusage": (98, 165), "times": (100, 153), "uname": (63, 160), "sysinfo": (99, 179),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None), "alarm": (37, None),
    "setitimer": (38, 103),
}  # fmt: skip

SOCKETS: Calls = {"recvfrom": (45, 207), "recvmsg": (47, 212), "shutdown": (48, 210)}
"""What it takes to talk over sockets that one holds, besides `sendto` without an address; no way to make or name one."""

PROGRAMS: Calls = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "wait4": (61, 260), "waitid": (247, 95), "getrlimit": (97, 163),
    "setpgid": (109, 154), "setsid": (112, 157), "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120), "getpriority": (140, 141),
}  # fmt: skip
"""What it takes besides to run another program, with threads and children of its own."""

_CLONE, _CLONE3, _IOCTL, _PRLIMIT = (56, 220), (435, 435), (16, 29), (302, 261)
_FCNTL, _SENDTO = (72, 25), (44, 206)
_THREAD = 0x00010000
_NAMESPACES = 0x7E020080
_TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B)
"""TCGETS, TIOCGWINSZ, FIONREAD: what programs ask their standard streams."""

_TERMINAL_SETTINGS = (0x5414, 0x5421)
"""TIOCSWINSZ, FIONBIO: what who relays between a socket and a terminal does."""

_SIGNALS_TO_OTHERS = (8, 10, 15)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX: any signal to any process of the same user (fcntl(2))."""

_ONESELF = 0
"""prlimit(2)'s pid for the caller."""

_LD, _JEQ, _JGT, _JGE, _JSET, _RET = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16
_NEW = 424
"""From this number on a refused call is «not implemented», so that a C library tries the older one."""


def compile_list(*, programs: bool = False, talks: bool = False, machine: str | None = None) -> bytes | None:
    """The filter for this machine (or the one named) as classic BPF; None when there is no table for it.

    For files, also for `programs`, or for one who `talks` over what is open and names no file.
    """
    arch = ARCHITECTURES.get(machine or platform.machine())
    if arch is None:
        return None
    calls = ONESELF | (SOCKETS if talks else FILES) | (PROGRAMS if programs else {})
    numbers = sorted(number for pair in calls.values() if (number := pair[arch.column]) is not None)
    controls = _TERMINAL_QUESTIONS + (_TERMINAL_SETTINGS if talks else ())
    program: list[Instruction] = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, arch.audit),
        _refuse(errno.EPERM),
        (_LD, 0, 0, _NUMBER),
        *_only(_IOCTL[arch.column], 1, controls, errno.ENOTTY),
        *_only(_PRLIMIT[arch.column], 0, (_ONESELF,), errno.EPERM),
        *_but(_FCNTL[arch.column], 1, _SIGNALS_TO_OTHERS, errno.EPERM),
        *(_nowhere(_SENDTO[arch.column], 4) if talks else ()),
        (_JEQ, 0, 1, _CLONE3[arch.column]),
        _refuse(errno.ENOSYS),
        *_clone(_CLONE[arch.column], programs=programs),
    ]
    for first, last in _ranges(numbers):
        program += [
            (_JGT, 3, 0, last),
            (_JGE, 0, 1, first),
            (_RET, 0, 0, RET_ALLOW),
            _refuse(errno.EPERM if first < _NEW else errno.ENOSYS),
        ]
    return assemble([*program, _refuse(errno.ENOSYS)])


def _refuse(number: int) -> Instruction:
    return (_RET, 0, 0, RET_ERRNO | number)


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Sorted numbers as closed ranges."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _only(number: int, argument: int, values: tuple[int, ...], error: int) -> list[Instruction]:
    """Allow a call for these values of the low 32 bits of one argument."""
    test: list[Instruction] = [(_LD, 0, 0, _ARGUMENT + 8 * argument)]
    test += [(_JEQ, len(values) - index, 0, value) for index, value in enumerate(values)]
    test += [_refuse(error), (_RET, 0, 0, RET_ALLOW)]
    return [(_JEQ, 0, len(test), number), *test]


def _but(number: int, argument: int, values: tuple[int, ...], error: int) -> list[Instruction]:
    """Allow a call but for these values of the low 32 bits of one argument."""
    test: list[Instruction] = [(_LD, 0, 0, _ARGUMENT + 8 * argument)]
    test += [(_JEQ, len(values) - index, 0, value) for index, value in enumerate(values)]
    test += [(_RET, 0, 0, RET_ALLOW), _refuse(error)]
    return [(_JEQ, 0, len(test), number), *test]


def _nowhere(number: int, argument: int) -> list[Instruction]:
    """Allow a call when this argument is a null pointer."""
    test: list[Instruction] = [
        (_LD, 0, 0, _ARGUMENT + 8 * argument),
        (_JEQ, 0, 3, 0),
        (_LD, 0, 0, _ARGUMENT + 8 * argument + 4),
        (_JEQ, 0, 1, 0),
        (_RET, 0, 0, RET_ALLOW),
        _refuse(errno.EPERM),
    ]
    return [(_JEQ, 0, len(test), number), *test]


def _clone(number: int, *, programs: bool) -> list[Instruction]:
    """Threads always, processes for programs, namespaces never."""
    test: list[Instruction] = [(_LD, 0, 0, _ARGUMENT), (_JSET, 0, 1, _NAMESPACES), _refuse(errno.EPERM)]
    if not programs:
        test += [(_JSET, 1, 0, _THREAD), _refuse(errno.EPERM)]
    test.append((_RET, 0, 0, RET_ALLOW))
    return [(_JEQ, 0, len(test), number), *test]
