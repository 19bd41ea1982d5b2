"""Capabilities (capabilities(7)): instances have none, a few of the platform's children keep one or two."""

from __future__ import annotations

from runtime.kernel import syscalls

_HIGHEST = 63


def last_capability() -> int:
    """The highest capability this kernel knows."""
    for number in range(_HIGHEST + 1):
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_READ, number)
        except OSError:
            return number - 1
    return _HIGHEST


LAST = last_capability()


def drop_bounding() -> None:
    """Empty the bounding set: no program run from now on can gain a capability. Needs CAP_SETPCAP."""
    for number in range(LAST + 1):
        syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)


def drop_all() -> None:
    """Give up every capability, and every way to gain one by running a program."""
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.capset(0, 0, 0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
