"""The system call filter of confined children: a short list of calls that they may make.

It serves our own parsers, git, and the processes that speak with strangers: no new sockets, no namespaces, no tracing, no
signals to others. Everything that is not on the list is refused.
"""

from __future__ import annotations

import errno
import os
from itertools import pairwise

from runtime.kernel import bpf
from runtime.kernel.bpf import ARCHITECTURES, NAMESPACES, Calls, Rule
from runtime.kernel.syscalls import CLONE_NEWTIME

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
    "fchmodat": (268, 53), "fchown": (93, 55), "fchownat": (260, 54), "utimensat": (280, 88), "truncate": (76, 45), "ftruncate": (77, 46),
    "fallocate": (285, 47), "fsync": (74, 82), "fdatasync": (75, 83), "copy_file_range": (326, 285),
    "sendfile": (40, 71), "fadvise64": (221, 223), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "umask": (95, 166),
}  # fmt: skip

ITSELF: Calls = {
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
    # the process itself
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132), "exit": (60, 93),
    "exit_group": (231, 94), "restart_syscall": (219, 128), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150), "getgroups": (115, 158),
    "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "getrandom": (318, 278),
    "getrusage": (98, 165), "times": (100, 153), "uname": (63, 160), "sysinfo": (99, 179),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None), "alarm": (37, None),
    "setitimer": (38, 103), "ioctl": (16, 29), "fcntl": (72, 25), "prlimit64": (302, 261), "clone": (56, 220),
}  # fmt: skip

SOCKETS: Calls = {"recvfrom": (45, 207), "recvmsg": (47, 212), "shutdown": (48, 210), "sendto": (44, 206)}
"""To talk over sockets that are open; there is no way to make or name one."""

PROGRAMS: Calls = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "wait4": (61, 260), "waitid": (247, 95), "getrlimit": (97, 163),
    "setpgid": (109, 154), "setsid": (112, 157), "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120), "getpriority": (140, 141),
}  # fmt: skip
"""To run another program, with threads and children of its own."""

_CLONE3: Calls = {"clone3": (435, 435)}
_CLONE_THREAD = 0x00010000
_TCGETS, _TIOCGWINSZ, _TIOCSWINSZ, _FIONREAD, _FIONBIO = 0x5401, 0x5413, 0x5414, 0x541B, 0x5421
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_THE_CALLER = 0
_LIST_BEGINS_ANEW = 424
"""From this number on all architectures number calls alike. A refused one answers ENOSYS, so that a C library tries the older call."""

RULES = (
    Rule("ioctl", (16, 29), 1, errno.ENOTTY, only=(_TCGETS, _TIOCGWINSZ, _FIONREAD)),
    Rule("prlimit64", (302, 261), 0, only=(_THE_CALLER,)),
    # any signal to any process of the same user (fcntl(2))
    Rule("fcntl", (72, 25), 1, refuse=(_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)),
    Rule("clone", (56, 220), 0, mask=NAMESPACES | CLONE_NEWTIME),
)
THREADS_ONLY = Rule("clone", (56, 220), 0, need=_CLONE_THREAD)
TALK = (
    Rule("ioctl", (16, 29), 1, errno.ENOTTY, only=(_TCGETS, _TIOCGWINSZ, _FIONREAD, _TIOCSWINSZ, _FIONBIO)),
    *RULES[1:],
    # no address: the pointer to it, both halves, is null
    Rule("sendto", (44, 206), 4, only=(0,)),
    Rule("sendto", (44, 206), 4, only=(0,), high=True),
)
"""As RULES, for a relay between a socket and a terminal."""


def compile_filter(
    *, programs: bool = False, talks: bool = False, machine: str | None = None
) -> bytes | None:
    """The program for this machine (or the one named); None for an architecture without a table.

    It serves work on files, and running other programs with `programs`; a child that `talks` over what is open names no
    file.
    """
    arch = ARCHITECTURES.get(machine or os.uname().machine)
    if arch is None:
        return None
    program = bpf.begin(arch)
    for number in arch.numbers(_CLONE3):
        program += bpf.refuse_number(number, errno.ENOSYS)
    for rule in (*(TALK if talks else RULES), *(() if programs else (THREADS_ONLY,))):
        program += bpf.rule(rule, arch)
    calls = ITSELF | (SOCKETS if talks else FILES) | (PROGRAMS if programs else {})
    for first, last in _ranges(sorted(arch.numbers(calls))):
        below = errno.EPERM if first < _LIST_BEGINS_ANEW else errno.ENOSYS
        program += bpf.allow_range(first, last, below)
    return bpf.assemble([*program, bpf.refuse(errno.ENOSYS)])


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Sorted numbers as closed ranges."""
    gaps = [(before, after) for before, after in pairwise(numbers) if after > before + 1]
    starts = [numbers[0], *(after for _, after in gaps)]
    ends = [*(before for before, _ in gaps), numbers[-1]]
    return list(zip(starts, ends, strict=True))
