"""An interpreter of classic BPF, for system call filters and made-up calls."""

from __future__ import annotations

import errno
import struct

from runtime.kernel.bpf import ARCHITECTURES, RET_ERRNO

_LOAD, _RETURN = 0x20, 0x06


def run(program: bytes, machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the kernel would do with this call: the return value of the program."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    own = ARCHITECTURES[machine].audit if audit is None else audit
    data = struct.pack("=IIQ6Q", number, own, 0, *padded)
    accumulator, here = 0, 0
    for _ in range(len(program)):
        code, true, false, operand = struct.unpack_from("=HBBI", program, here * 8)
        here += 1
        if code == _LOAD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif code == _RETURN:
            return int(operand)
        else:
            taken = {
                0x15: accumulator == operand, 0x25: accumulator > operand, 0x35: accumulator >= operand,
                0x45: bool(accumulator & operand),
            }[code]  # fmt: skip
            here += true if taken else false
    raise AssertionError("the program ran off its end")


def refused(number: int = errno.EPERM) -> int:
    return RET_ERRNO | number


def assert_jumps_stay_inside(program: bytes) -> None:
    instructions = list(struct.iter_unpack("=HBBI", program))
    assert len(instructions) <= 4096
    for here, (code, true, false, _) in enumerate(instructions):
        if code not in (_LOAD, _RETURN):
            assert here + 1 + max(true, false) < len(instructions)
