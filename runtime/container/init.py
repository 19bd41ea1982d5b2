"""The two programs of ours that run inside a container, a few dozen instructions, built here without a library.

`init` is pid 1. It waits for signals. SIGCHLD: reap whatever has ended; write the wait status of the main program, which
is pid 2, to descriptor 3; end when no process is left. Any other signal: pass it on to the main program. So the main
program may end first and what it started may still finish its work: the shim decides whether it may (`processes`). Its
caller blocks every signal first, and a blocked signal waits in the queue of pid 1, so none is lost.

`start` executes its first argument with the others. It stands between us and the app's program, so that a script whose
first line names /proc/self/exe runs this and not the interpreter of the host.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

REPORT_FD = 3

_MFD_EXEC = 0x10
_EXECUTE_ONLY = 0o111
"""Unreadable, so that the kernel lets no process inside look into pid 1 or at its descriptors."""

_ADDRESS, _ALIGN = 0x400000, 0x10000
_EXECUTABLE, _LOAD, _READ_EXECUTE = 2, 1, 5
_HEADER_BYTES, _SEGMENT_BYTES = 64, 56

_INIT_X86_64 = (
    ("48 8d 3d 6c 00 00 00", "wait: lea rdi, [rip + signals]"),
    ("31 f6", "xor esi, esi"),
    ("31 d2", "xor edx, edx"),
    ("41 ba 08 00 00 00", "mov r10d, 8"),
    ("b8 80 00 00 00", "mov eax, 128  (rt_sigtimedwait)"),
    ("0f 05", "syscall"),
    ("83 f8 11", "cmp eax, 17  (SIGCHLD)"),
    ("74 14", "je reap"),
    ("85 c0", "test eax, eax"),
    ("7e df", "jle wait"),
    ("89 c6", "mov esi, eax"),
    ("bf 02 00 00 00", "mov edi, 2  (the main program)"),
    ("b8 3e 00 00 00", "mov eax, 62  (kill)"),
    ("0f 05", "syscall"),
    ("eb cf", "jmp wait"),
    ("48 c7 c7 ff ff ff ff", "reap: mov rdi, -1"),
    ("48 8d 74 24 f8", "lea rsi, [rsp - 8]"),
    ("ba 01 00 00 00", "mov edx, 1  (WNOHANG)"),
    ("45 31 d2", "xor r10d, r10d"),
    ("b8 3d 00 00 00", "mov eax, 61  (wait4)"),
    ("0f 05", "syscall"),
    ("85 c0", "test eax, eax"),
    ("78 1a", "js end  (ECHILD, nobody is left)"),
    ("74 ae", "je wait"),
    ("83 f8 02", "cmp eax, 2"),
    ("75 da", "jne reap"),
    ("bf 03 00 00 00", "mov edi, 3  (the report)"),
    ("ba 04 00 00 00", "mov edx, 4"),
    ("b8 01 00 00 00", "mov eax, 1  (write)"),
    ("0f 05", "syscall"),
    ("eb c7", "jmp reap"),
    ("31 ff", "end: xor edi, edi"),
    ("b8 e7 00 00 00", "mov eax, 231  (exit_group)"),
    ("0f 05", "syscall"),
    ("ff ff ff ff ff ff ff ff", "signals: all"),
)

_INIT_AARCH64 = (
    ("40 04 00 10", "wait: adr x0, signals"),
    ("01 00 80 d2", "mov x1, 0"),
    ("02 00 80 d2", "mov x2, 0"),
    ("03 01 80 d2", "mov x3, 8"),
    ("28 11 80 d2", "mov x8, 137  (rt_sigtimedwait)"),
    ("01 00 00 d4", "svc 0"),
    ("1f 44 00 f1", "cmp x0, 17  (SIGCHLD)"),
    ("00 01 00 54", "b.eq reap"),
    ("1f 00 00 f1", "cmp x0, 0"),
    ("ed fe ff 54", "b.le wait"),
    ("e1 03 00 aa", "mov x1, x0"),
    ("40 00 80 d2", "mov x0, 2  (the main program)"),
    ("28 10 80 d2", "mov x8, 129  (kill)"),
    ("01 00 00 d4", "svc 0"),
    ("f2 ff ff 17", "b wait"),
    ("00 00 80 92", "reap: mov x0, -1"),
    ("e1 43 00 d1", "sub x1, sp, 16"),
    ("22 00 80 d2", "mov x2, 1  (WNOHANG)"),
    ("03 00 80 d2", "mov x3, 0"),
    ("88 20 80 d2", "mov x8, 260  (wait4)"),
    ("01 00 00 d4", "svc 0"),
    ("1f 00 00 f1", "cmp x0, 0"),
    ("2b 01 00 54", "b.lt end  (ECHILD, nobody is left)"),
    ("20 fd ff 54", "b.eq wait"),
    ("1f 08 00 f1", "cmp x0, 2"),
    ("c1 fe ff 54", "b.ne reap"),
    ("60 00 80 d2", "mov x0, 3  (the report)"),
    ("82 00 80 d2", "mov x2, 4"),
    ("08 08 80 d2", "mov x8, 64  (write)"),
    ("01 00 00 d4", "svc 0"),
    ("f1 ff ff 17", "b reap"),
    ("00 00 80 d2", "end: mov x0, 0"),
    ("c8 0b 80 d2", "mov x8, 94  (exit_group)"),
    ("01 00 00 d4", "svc 0"),
    ("ff ff ff ff ff ff ff ff", "signals: all"),
)

_START_X86_64 = (
    ("48 8b 7c 24 08", "mov rdi, [rsp + 8]"),
    ("48 8d 74 24 10", "lea rsi, [rsp + 16]"),
    ("48 8b 14 24", "mov rdx, [rsp]"),
    ("48 8d 54 d4 10", "lea rdx, [rsp + 8 * rdx + 16]"),
    ("b8 3b 00 00 00", "mov eax, 59  (execve)"),
    ("0f 05", "syscall"),
    ("bf 02 00 00 00", "mov edi, 2  (standard error)"),
    ("48 8d 35 18 00 00 00", "lea rsi, [rip + text]"),
    ("ba 15 00 00 00", "mov edx, 21"),
    ("b8 01 00 00 00", "mov eax, 1  (write)"),
    ("0f 05", "syscall"),
    ("bf 7e 00 00 00", "mov edi, 126"),
    ("b8 e7 00 00 00", "mov eax, 231  (exit_group)"),
    ("0f 05", "syscall"),
    ("62 61 73 68 3a 20 63 61 6e 6e 6f 74 20 65 78 65 63 75 74 65 0a", "text: bash: cannot execute"),
)

_START_AARCH64 = (
    ("e0 07 40 f9", "ldr x0, [sp, 8]"),
    ("e1 43 00 91", "add x1, sp, 16"),
    ("e2 03 40 f9", "ldr x2, [sp]"),
    ("22 0c 02 8b", "add x2, x1, x2, lsl 3"),
    ("a8 1b 80 d2", "mov x8, 221  (execve)"),
    ("01 00 00 d4", "svc 0"),
    ("40 00 80 d2", "mov x0, 2  (standard error)"),
    ("e1 00 00 10", "adr x1, text"),
    ("a2 02 80 d2", "mov x2, 21"),
    ("08 08 80 d2", "mov x8, 64  (write)"),
    ("01 00 00 d4", "svc 0"),
    ("c0 0f 80 d2", "mov x0, 126"),
    ("c8 0b 80 d2", "mov x8, 94  (exit_group)"),
    ("01 00 00 d4", "svc 0"),
    ("62 61 73 68 3a 20 63 61 6e 6e 6f 74 20 65 78 65 63 75 74 65 0a", "text: bash: cannot execute"),
)

_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
LISTINGS = {
    ("init", "x86_64"): _INIT_X86_64,
    ("init", "aarch64"): _INIT_AARCH64,
    ("start", "x86_64"): _START_X86_64,
    ("start", "aarch64"): _START_AARCH64,
}


def program(name: str, machine: str | None = None) -> bytes:
    """The ELF file for this machine (or the one named). Raises KeyError for one without a listing."""
    machine = machine or os.uname().machine
    code = b"".join(bytes.fromhex(row) for row, _ in LISTINGS[name, machine])
    begin = _HEADER_BYTES + _SEGMENT_BYTES
    size = begin + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        identity, _EXECUTABLE, _ELF_MACHINES[machine], 1, _ADDRESS + begin, _HEADER_BYTES, 0, 0,
        _HEADER_BYTES, _SEGMENT_BYTES, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", _LOAD, _READ_EXECUTE, 0, _ADDRESS, _ADDRESS, size, size, _ALIGN)
    return header + segment + code


def open_program(name: str) -> int:
    """A program as a descriptor to execute, in memory and sealed: no process can change or see it."""
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:  # kernels before 6.3 do not know the flag and need none
            raise
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, program(name))
    os.fchmod(fd, _EXECUTE_ONLY)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
