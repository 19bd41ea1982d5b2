"""The filter of apps, run by an interpreter of classic BPF on made-up calls."""

from __future__ import annotations

import errno

import pytest
from harness import bpf
from harness.bpf import refused

from runtime.kernel import seccomp_apps
from runtime.kernel.bpf import ARCHITECTURES, RET_ALLOW
from runtime.kernel.seccomp_apps import DENIED

I386 = 0x40000003


def run(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    return bpf.run(seccomp_apps.compile_filter(machine), machine, number, *arguments, audit=audit)


@pytest.mark.parametrize("name", sorted(DENIED))
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_denied_calls_answer_eperm(machine: str, name: str) -> None:
    number = DENIED[name][ARCHITECTURES[machine].column]
    if number is not None:
        assert run(machine, number) == refused()


@pytest.mark.parametrize(
    "number", [0, 1, 2, 59, 61, 202, 231, 257, 262, 302, 318, 334, 424, 434, 436, 437, 439, 449, 456]
)
def test_ordinary_calls_pass(number: int) -> None:
    assert run("x86_64", number) == RET_ALLOW


@pytest.mark.parametrize("number", [335, 400, 423, 457, 463, 9999, 0x3FFFFFFF])
def test_unknown_calls_do_not_exist(number: int) -> None:
    assert run("x86_64", number) == refused(errno.ENOSYS)


@pytest.mark.parametrize("number", [0x40000000, 0x40000000 + 272, 0xFFFFFFFF])
def test_x32_calls_are_refused(number: int) -> None:
    assert run("x86_64", number) == refused()


@pytest.mark.parametrize("number", [1, 20, 102, 310])
def test_32_bit_calls_are_refused_whatever_their_number_means_here(number: int) -> None:
    assert run("x86_64", number, audit=I386) == refused()


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 435), ("aarch64", 435)])
def test_clone3_does_not_exist(machine: str, number: int) -> None:
    assert run(machine, number) == refused(errno.ENOSYS)


@pytest.mark.parametrize(("machine", "clone", "unshare"), [("x86_64", 56, 272), ("aarch64", 220, 97)])
def test_namespaces_are_refused_and_threads_are_not(machine: str, clone: int, unshare: int) -> None:
    threads = 0x3D0F00
    assert run(machine, clone, threads) == RET_ALLOW
    assert run(machine, clone, 17) == RET_ALLOW
    assert run(machine, unshare, 0x400) == RET_ALLOW
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert run(machine, clone, bit | 17) == refused()
        assert run(machine, unshare, bit) == refused()
    assert run(machine, unshare, 0x80) == refused()


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 41), ("aarch64", 198)])
def test_only_ordinary_socket_families_exist(machine: str, number: int) -> None:
    for family in (1, 2, 10):
        assert run(machine, number, family, 1, 6) == RET_ALLOW
    assert run(machine, number, 16, 3, 0) == RET_ALLOW
    for protocol in (4, 9, 12, 15):
        assert run(machine, number, 16, 3, protocol) == refused(errno.EAFNOSUPPORT)
    for family in (0, 3, 17, 29, 38, 40, 44):
        assert run(machine, number, family, 1, 0) == refused(errno.EAFNOSUPPORT)


def test_the_upper_half_of_an_argument_hides_nothing() -> None:
    """The kernel takes 32 bits of these arguments, so a value with rubbish above is still that value."""
    assert run("x86_64", 41, 1 << 32 | 38) == refused(errno.EAFNOSUPPORT)
    assert run("x86_64", 56, 1 << 40 | 0x10000000) == refused()
    assert run("x86_64", 16, 0, 1 << 32 | 0x5412) == refused()


def test_terminals_cannot_be_typed_into_and_other_controls_work() -> None:
    assert run("x86_64", 16, 0, 0x5412) == refused()
    assert run("x86_64", 16, 0, 0x541C) == refused()
    assert run("x86_64", 16, 0, 0x5413) == RET_ALLOW


def test_personality_may_be_asked_but_not_changed() -> None:
    assert run("x86_64", 135, 0xFFFFFFFF) == RET_ALLOW
    assert run("x86_64", 135, 0) == RET_ALLOW
    assert run("x86_64", 135, 0x40000) == refused()


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_no_jump_leaves_the_program(machine: str) -> None:
    bpf.assert_jumps_stay_inside(seccomp_apps.compile_filter(machine))


def test_a_machine_without_a_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        seccomp_apps.compile_filter("riscv64")
