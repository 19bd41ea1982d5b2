"""The system call filter of instances: a policy as data, compiled to classic BPF (seccomp(2)).

The architecture is looked at first, so numbers of a 32-bit or x32 call never match the table. Calls that are known
and dangerous answer EPERM, calls newer than the table ENOSYS (a C library then falls back to the older call),
everything between is allowed: it is a closed range, not an open one.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

from runtime.kernel.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000

_LD_ABS, _JEQ, _JGT, _JGE, _JSET, _RET = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16

_NAMESPACES = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
)
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONALITY_QUERY = 0xFFFFFFFF


@dataclass(frozen=True)
class Architecture:
    """How one machine numbers its calls. `ranges` are the closed ranges of numbers this filter knows."""

    audit: int
    column: int
    ranges: tuple[tuple[int, int], ...]
    x32: bool = False


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0, ((0, 334), (424, 456)), x32=True),
    "aarch64": Architecture(0xC00000B7, 1, ((0, 294), (424, 456))),
}

DENIED: dict[str, tuple[int | None, int | None]] = {
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
"""Call → number on x86_64 and aarch64. They answer EPERM."""

ABSENT: dict[str, tuple[int, int]] = {"clone3": (435, 435)}
"""Calls that answer ENOSYS, since their arguments lie in memory, where a filter cannot look."""


@dataclass(frozen=True)
class Rule:
    """A call refused with `error` for some values of the low 32 bits of one argument.

    Refused when a bit of `mask` is set, or the value is in `refuse`, or `only` is given and lacks it. With `when`
    the rule holds only if that (argument, value) also matches.
    """

    name: str
    numbers: tuple[int, int]
    argument: int
    error: int = errno.EPERM
    mask: int = 0
    refuse: tuple[int, ...] = ()
    only: tuple[int, ...] = ()
    when: tuple[int, int] | None = None


RULES = (
    Rule("clone", (56, 220), 0, mask=_NAMESPACES),
    Rule("unshare", (272, 97), 0, mask=_NAMESPACES | CLONE_NEWTIME),
    Rule("personality", (135, 92), 0, only=(0, _PERSONALITY_QUERY)),
    Rule("ioctl", (16, 29), 1, refuse=(_TIOCSTI, _TIOCLINUX)),
    Rule("socket", (41, 198), 0, errno.EAFNOSUPPORT, only=(_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK)),
    Rule("socket", (41, 198), 2, errno.EAFNOSUPPORT, only=(0,), when=(0, _AF_NETLINK)),
)

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand: `struct sock_filter`."""


def compile_filter(machine: str | None = None) -> bytes:
    """The program for this machine (or the one named). Raises KeyError for an architecture without a table."""
    return assemble(instructions(ARCHITECTURES[machine or platform.machine()]))


def assemble(program: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def instructions(arch: Architecture) -> list[Instruction]:
    program: list[Instruction] = [
        (_LD_ABS, 0, 0, _OFFSET_ARCH),
        (_JEQ, 1, 0, arch.audit),
        _error(errno.EPERM),
        (_LD_ABS, 0, 0, _OFFSET_NR),
    ]
    if arch.x32:
        program += [(_JGE, 0, 1, 0x40000000), _error(errno.EPERM)]
    program += _unknown(arch)
    for numbers in ABSENT.values():
        program += [(_JEQ, 0, 1, numbers[arch.column]), _error(errno.ENOSYS)]
    for pair in DENIED.values():
        number = pair[arch.column]
        if number is not None:
            program += [(_JEQ, 0, 1, number), _error(errno.EPERM)]
    for rule in RULES:
        program += _rule(rule, arch.column)
    program.append((_RET, 0, 0, RET_ALLOW))
    return program


def _error(number: int) -> Instruction:
    return (_RET, 0, 0, RET_ERRNO | number)


def _unknown(arch: Architecture) -> list[Instruction]:
    """ENOSYS between and above the known ranges (the first begins at 0)."""
    program: list[Instruction] = []
    for (_, last), (first, _) in zip(arch.ranges, arch.ranges[1:], strict=False):
        program += [(_JGT, 0, 2, last), (_JGE, 1, 0, first), _error(errno.ENOSYS)]
    return [*program, (_JGT, 0, 1, arch.ranges[-1][1]), _error(errno.ENOSYS)]


def _rule(rule: Rule, column: int) -> list[Instruction]:
    test: list[Instruction] = [(_LD_ABS, 0, 0, _OFFSET_ARGS + 8 * rule.argument)]
    if rule.mask:
        test += [(_JSET, 0, 1, rule.mask), _error(rule.error)]
    for value in rule.refuse:
        test += [(_JEQ, 0, 1, value), _error(rule.error)]
    if rule.only:
        left = len(rule.only)
        test += [(_JEQ, left - index, 0, value) for index, value in enumerate(rule.only)]
        test.append(_error(rule.error))
    if rule.when is not None:
        argument, value = rule.when
        test = [(_LD_ABS, 0, 0, _OFFSET_ARGS + 8 * argument), (_JEQ, 0, len(test), value), *test]
    test.append((_LD_ABS, 0, 0, _OFFSET_NR))
    return [(_JEQ, 0, len(test), rule.numbers[column]), *test]
