"""The system call filter of instances: a policy as data.

Known and dangerous calls answer EPERM. Calls newer than the table answer ENOSYS, and a C library then falls back to the
older call. Everything between is allowed: it is a closed range, not an open one.
"""

from __future__ import annotations

import errno
import os

from runtime.kernel import bpf
from runtime.kernel.bpf import ARCHITECTURES, NAMESPACES, Architecture, Calls, Program, Rule
from runtime.kernel.syscalls import CLONE_NEWTIME

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONALITY_QUERY = 0xFFFFFFFF
_X32_BIT = 0x40000000

DENIED: Calls = {
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    # the kernel itself
    "create_module": (174, None), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "get_kernel_syms": (177, None), "query_module": (178, None),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "iopl": (172, None), "ioperm": (173, None), "syslog": (103, 116), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "clock_settime": (227, 112), "settimeofday": (164, 170),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    # large or barely maintained attack surface
    "bpf": (321, 280), "perf_event_open": (298, 241), "fanotify_init": (300, 262), "lookup_dcookie": (212, 18),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282), "modify_ldt": (154, None), "uselib": (134, None), "ustat": (136, None),
    "sysfs": (139, None), "_sysctl": (156, None), "nfsservctl": (180, 42), "vmsplice": (278, 75),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # keyrings belong to no namespace; handles and descriptors of others
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "open_by_handle_at": (304, 265),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
}  # fmt: skip
"""They answer EPERM."""

ABSENT: Calls = {"clone3": (435, 435)}
"""They answer ENOSYS, since their arguments lie in memory, where a filter cannot look."""


RULES = (
    Rule("clone", (56, 220), 0, mask=NAMESPACES),
    Rule("unshare", (272, 97), 0, mask=NAMESPACES | CLONE_NEWTIME),
    Rule("personality", (135, 92), 0, only=(0, _PERSONALITY_QUERY)),
    Rule("ioctl", (16, 29), 1, refuse=(_TIOCSTI, _TIOCLINUX)),
    Rule("socket", (41, 198), 0, errno.EAFNOSUPPORT, only=(_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK)),
    Rule("socket", (41, 198), 2, errno.EAFNOSUPPORT, only=(_NETLINK_ROUTE,), when=(0, _AF_NETLINK)),
)


def compile_filter(machine: str | None = None) -> bytes:
    """The program for this machine (or the one named). Raises KeyError for an architecture without a table."""
    return bpf.assemble(instructions(ARCHITECTURES[machine or os.uname().machine]))


def instructions(arch: Architecture) -> Program:
    program = bpf.begin(arch)
    if arch.x32:
        program += bpf.refuse_from(_X32_BIT, errno.EPERM)
    for (_, last), (first, _) in zip(arch.ranges, arch.ranges[1:], strict=False):
        program += bpf.refuse_between(last, first, errno.ENOSYS)
    program += bpf.refuse_from(arch.ranges[-1][1] + 1, errno.ENOSYS)
    for number in arch.numbers(ABSENT):
        program += bpf.refuse_number(number, errno.ENOSYS)
    for number in arch.numbers(DENIED):
        program += bpf.refuse_number(number, errno.EPERM)
    for rule in RULES:
        program += bpf.rule(rule, arch)
    return [*program, bpf.allow()]
