from __future__ import annotations

import fcntl
import os
import re
import struct

import pytest

from runtime.container import init

BOTH = pytest.mark.parametrize(
    ("name", "machine"), [(name, machine) for name in ("init", "start") for machine in ("x86_64", "aarch64")]
)


def rows(name: str, machine: str) -> list[tuple[int, bytes, str]]:
    """Every instruction with its offset, its bytes and its text."""
    found, offset = [], 0
    for code, text in init.LISTINGS[name, machine]:
        found.append((offset, bytes.fromhex(code), text))
        offset += len(found[-1][1])
    return found


def reached(machine: str, offset: int, code: bytes) -> int:
    """Where a jump, or the address that an instruction names, leads."""
    if machine == "x86_64":
        width = 4 if code[0] == 0x48 else 1
        return offset + len(code) + int.from_bytes(code[-width:], "little", signed=True)
    word = int.from_bytes(code, "little")
    if word >> 26 == 5:  # b
        return offset + 4 * ((word & 0x3FFFFFF ^ 0x2000000) - 0x2000000)
    return offset + 4 * ((word >> 5 & 0x7FFFF ^ 0x40000) - 0x40000)  # b.cond, and adr to a multiple of four


@BOTH
def test_every_jump_leads_to_the_label_it_names(name: str, machine: str) -> None:
    listing = rows(name, machine)
    labels = {match[1]: offset for offset, _, text in listing if (match := re.match(r"(\w+): ", text))}
    assert set(labels) == ({"wait", "reap", "end", "signals"} if name == "init" else {"text"})
    named = re.compile(r"(?:j\w+|\bb(?:\.\w+)?|rip \+|adr x\d,) (\w+)")
    jumps = [(offset, code, match[1]) for offset, code, text in listing if (match := named.search(text))]
    assert len(jumps) == (8 if name == "init" else 1)
    for offset, code, label in jumps:
        assert reached(machine, offset, code) == labels[label], label


@BOTH
def test_the_file_is_one_executable_segment_that_begins_with_the_code(name: str, machine: str) -> None:
    data = init.program(name, machine)
    entry, segments = struct.unpack_from("<QQ", data, 24)
    kind, flags, start, address, _, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", data, segments)
    assert struct.unpack_from("<H", data, 18) == ({"x86_64": 62, "aarch64": 183}[machine],)
    assert (kind, flags, start, in_file, in_memory) == (1, 5, 0, len(data), len(data))
    assert data[entry - address :].startswith(rows(name, machine)[0][1])


def test_nobody_can_change_it() -> None:
    fd = init.open_program("init")
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SEAL
        assert os.fstat(fd).st_mode & 0o777 == 0o111
    finally:
        os.close(fd)
