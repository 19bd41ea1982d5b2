"""Capabilities (capabilities(7)): instances have none, builds that are root inside and a few of the platform's children
keep some."""

from __future__ import annotations

from runtime.kernel import syscalls

_HIGHEST = 63
ROOT_BUILD = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7))
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID: what dpkg and useradd need to give files and processes
other owners. In a user namespace they reach only what belongs to an id of its range."""


OWNERS = sum(1 << number for number in (0, 2, 3))
"""CHOWN, DAC_READ_SEARCH, FOWNER: what the making of a layer needs to read a container's files and to keep their owners."""


def last_capability() -> int:
    """The highest capability this kernel knows."""
    for number in range(_HIGHEST + 1):
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_READ, number)
        except OSError:
            return number - 1
    return _HIGHEST


LAST = last_capability()


def drop_bounding(keep: int = 0) -> None:
    """Empty the bounding set but for the bits of `keep`: no program run from now on can gain another capability. Needs
    CAP_SETPCAP."""
    for number in range(LAST + 1):
        if not keep >> number & 1:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)


def drop(keep: int = 0) -> None:
    """Give up every capability but the bits of `keep`, and every way to gain one by running a program. Only user 0 of the
    namespace keeps them over execve(2)."""
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.capset(keep, keep, 0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
