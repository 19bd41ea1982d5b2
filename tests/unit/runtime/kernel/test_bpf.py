"""The numbers of system calls in the policies, against libseccomp, which every Debian has (apt needs it)."""

from __future__ import annotations

import ctypes

import pytest

from runtime.kernel import seccomp_apps, seccomp_children
from runtime.kernel.bpf import ARCHITECTURES, Calls

_library = ctypes.CDLL("libseccomp.so.2")
_library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)

TABLES: list[Calls] = [
    seccomp_apps.DENIED,
    seccomp_apps.ABSENT,
    seccomp_children.FILES,
    seccomp_children.ITSELF,
    seccomp_children.SOCKETS,
    seccomp_children.PROGRAMS,
    {rule.name: rule.numbers for rule in (*seccomp_apps.RULES, *seccomp_children.TALK)},
]


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_every_number_in_the_tables_is_that_of_its_call(machine: str) -> None:
    arch = ARCHITECTURES[machine]
    for table in TABLES:
        for name, pair in table.items():
            known = _library.seccomp_syscall_resolve_name_arch(arch.audit, name.encode())
            assert (known if known >= 0 else None) == pair[arch.column], name


def test_rules_of_one_call_have_one_number() -> None:
    numbers = {(rule.name, rule.numbers) for rule in (*seccomp_apps.RULES, *seccomp_children.TALK)}
    assert len(numbers) == len({name for name, _ in numbers})
