"""The filter of confined children, run by an interpreter of classic BPF on made-up calls."""

from __future__ import annotations

import errno

import pytest
from harness import bpf
from harness.bpf import refused

from runtime.kernel import seccomp_children
from runtime.kernel.bpf import ARCHITECTURES, RET_ALLOW, Calls
from runtime.kernel.seccomp_children import FILES, ITSELF, PROGRAMS, SOCKETS

MACHINES = pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
WITH_RULES = {"ioctl", "fcntl", "prlimit64", "clone", "sendto"}


def compiled(machine: str, *, programs: bool = False, talks: bool = False) -> bytes:
    program = seccomp_children.compile_filter(programs=programs, talks=talks, machine=machine)
    assert program is not None
    return program


def without_rules(calls: Calls) -> Calls:
    return {name: pair for name, pair in calls.items() if name not in WITH_RULES}


@MACHINES
@pytest.mark.parametrize("programs", [False, True])
@pytest.mark.parametrize("talks", [False, True])
def test_exactly_the_calls_of_the_job_pass(machine: str, programs: bool, talks: bool) -> None:
    arch = ARCHITECTURES[machine]
    program = compiled(machine, programs=programs, talks=talks)
    granted = ITSELF | (SOCKETS if talks else FILES) | (PROGRAMS if programs else {})
    allowed = set(arch.numbers(without_rules(granted)))
    skipped = set(arch.numbers({name: granted[name] for name in WITH_RULES & set(granted)}))
    for number in set(range(600)) - skipped:
        said = bpf.run(program, machine, number)
        assert (said == RET_ALLOW) == (number in allowed), number
        assert said in (RET_ALLOW, refused(), refused(errno.ENOSYS))
        if number >= 424 and number not in allowed:
            assert said == refused(errno.ENOSYS)
    bpf.assert_jumps_stay_inside(program)


@MACHINES
def test_calls_of_another_instruction_set_are_refused(machine: str) -> None:
    assert bpf.run(compiled(machine), machine, 3, audit=0x40000003) == refused()


@MACHINES
def test_threads_are_for_all_processes_for_programs_and_namespaces_for_none(machine: str) -> None:
    clone = {"x86_64": 56, "aarch64": 220}[machine]
    threads = 0x3D0F00
    for programs in (False, True):
        program = compiled(machine, programs=programs)
        assert bpf.run(program, machine, clone, threads) == RET_ALLOW
        assert bpf.run(program, machine, clone, 17) == (RET_ALLOW if programs else refused())
        assert bpf.run(program, machine, 435) == refused(errno.ENOSYS)
        for bit in (
            0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
        ):  # fmt: skip
            assert bpf.run(program, machine, clone, threads | bit) == refused()


@MACHINES
def test_only_limits_of_the_child_itself_change(machine: str) -> None:
    prlimit = {"x86_64": 302, "aarch64": 261}[machine]
    assert bpf.run(compiled(machine), machine, prlimit, 0, 7) == RET_ALLOW
    assert bpf.run(compiled(machine), machine, prlimit, 1, 7) == refused()


@MACHINES
def test_no_descriptor_sends_signals_to_others(machine: str) -> None:
    fcntl = {"x86_64": 72, "aarch64": 25}[machine]
    for command in (8, 10, 15):
        assert bpf.run(compiled(machine), machine, fcntl, 0, command) == refused()
    for command in (1, 2, 3, 4, 1030):
        assert bpf.run(compiled(machine), machine, fcntl, 0, command) == RET_ALLOW


@MACHINES
def test_terminals_are_asked_by_all_and_changed_by_relays_only(machine: str) -> None:
    ioctl = {"x86_64": 16, "aarch64": 29}[machine]
    for talks in (False, True):
        program = compiled(machine, talks=talks)
        for request in (0x5401, 0x5413, 0x541B):
            assert bpf.run(program, machine, ioctl, 0, request) == RET_ALLOW
        for request in (0x5414, 0x5421):
            said = bpf.run(program, machine, ioctl, 0, request)
            assert said == (RET_ALLOW if talks else refused(errno.ENOTTY))
        assert bpf.run(program, machine, ioctl, 0, 0x5412) == refused(errno.ENOTTY)


@MACHINES
def test_a_relay_sends_to_no_address(machine: str) -> None:
    sendto = {"x86_64": 44, "aarch64": 206}[machine]
    program = compiled(machine, talks=True)
    assert bpf.run(program, machine, sendto, 3, 4096, 10, 0, 0) == RET_ALLOW
    for address in (1, 1 << 32, 0x7FFF_0000_0000):
        assert bpf.run(program, machine, sendto, 3, 4096, 10, 0, address) == refused()
    assert bpf.run(compiled(machine), machine, sendto) == refused()


def test_a_machine_without_a_table_has_no_filter() -> None:
    assert seccomp_children.compile_filter(machine="riscv64") is None
