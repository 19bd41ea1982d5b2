"""Assembles system call filters (seccomp(2)) from policies that are data: classic BPF, eight bytes an instruction.

A program starts with `begin`, which refuses every other instruction set (numbers of 32-bit calls never meet a table of
64-bit ones) and leaves the number of the call in the accumulator. The parts after it keep that number there.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from runtime.kernel import syscalls

NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET
)  # fmt: skip
"""Flags of clone(2). CLONE_NEWTIME is missing: its bit belongs to the exit signal there."""

RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
"""Offsets in `struct seccomp_data`."""

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand: `struct sock_filter`."""

Program = list[Instruction]
Calls = dict[str, tuple[int | None, int | None]]
"""Call → number on x86_64 and aarch64; None: no such call there."""


@dataclass(frozen=True)
class Architecture:
    """An instruction set: `audit` is its AUDIT_ARCH, `column` its place in tables of numbers."""

    audit: int
    column: int
    ranges: tuple[tuple[int, int], ...]
    """The closed ranges of numbers that the filter of apps knows."""

    x32: bool = False

    def numbers(self, calls: Calls) -> list[int]:
        return [number for pair in calls.values() if (number := pair[self.column]) is not None]


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0, ((0, 334), (424, 456)), x32=True),
    "aarch64": Architecture(0xC00000B7, 1, ((0, 294), (424, 456))),
}


@dataclass(frozen=True)
class Rule:
    """A call refused with `error` for some values of 32 bits of one argument: the low half, or the high one.

    Refused if a bit of `mask` is set, if no bit of `need` is set, if the value is in `refuse`, or if `only` is given and
    lacks it. With `when` the rule holds only if that (argument, value) also matches.
    """

    name: str
    numbers: tuple[int, int]
    argument: int
    error: int = errno.EPERM
    mask: int = 0
    need: int = 0
    refuse: tuple[int, ...] = ()
    only: tuple[int, ...] = ()
    when: tuple[int, int] | None = None
    high: bool = False


def begin(arch: Architecture) -> Program:
    return [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, arch.audit),
        refuse(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]


def allow() -> Instruction:
    return (_RETURN, 0, 0, RET_ALLOW)


def refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, RET_ERRNO | error)


def refuse_number(number: int, error: int) -> Program:
    return [(_JUMP_EQUAL, 0, 1, number), refuse(error)]


def refuse_from(number: int, error: int) -> Program:
    """Refuse this number and all above it."""
    return [(_JUMP_AT_LEAST, 0, 1, number), refuse(error)]


def refuse_between(last: int, first: int, error: int) -> Program:
    """Refuse the numbers above `last` and below `first`."""
    return [(_JUMP_GREATER, 0, 2, last), (_JUMP_AT_LEAST, 1, 0, first), refuse(error)]


def allow_range(first: int, last: int, below: int) -> Program:
    """Allow the numbers from `first` to `last`, and refuse those below with the error `below`."""
    return [(_JUMP_GREATER, 3, 0, last), (_JUMP_AT_LEAST, 0, 1, first), allow(), refuse(below)]


def rule(rule: Rule, arch: Architecture) -> Program:
    test: Program = [_load_argument(rule.argument, high=rule.high)]
    if rule.mask:
        test += [(_JUMP_ANY_BIT, 0, 1, rule.mask), refuse(rule.error)]
    if rule.need:
        test += [(_JUMP_ANY_BIT, 1, 0, rule.need), refuse(rule.error)]
    for value in rule.refuse:
        test += [(_JUMP_EQUAL, 0, 1, value), refuse(rule.error)]
    if rule.only:
        left = len(rule.only)
        test += [(_JUMP_EQUAL, left - index, 0, value) for index, value in enumerate(rule.only)]
        test.append(refuse(rule.error))
    if rule.when is not None:
        argument, value = rule.when
        test = [_load_argument(argument), (_JUMP_EQUAL, 0, len(test), value), *test]
    test.append((_LOAD, 0, 0, _NUMBER_AT))
    return [(_JUMP_EQUAL, 0, len(test), rule.numbers[arch.column]), *test]


def _load_argument(argument: int, *, high: bool = False) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument + 4 * high)


def assemble(program: Program) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
