"""From the words of a command to the program that runs: found on PATH and judged as a shell would.

Runs inside the container, as the app's user, in the child of pid 1; only system calls may happen there (see `child`).
"""

from __future__ import annotations

import os
import signal

from runtime.kernel import syscalls as sc
from runtime.spec import Process

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_NO_INTERPRETER = "cannot execute: required file not found"
_SHELL = "/bin/sh"
_NO_SHELL = (
    b"This image has no shell: name a program by its path, and each of its words: /PROGRAM WORD WORD\n"
)
_NOT_FOUND = ("command not found", "No such file or directory", _NO_INTERPRETER)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def run(process: Process, start: int, env: list[bytes]) -> int:
    """Become the app's program, in the foreground if there is a terminal. Returns a shell's status when it cannot."""
    os.setpgid(0, 0)
    if process.terminal is not None:
        os.tcsetpgrp(0, os.getpgrp())
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    words = [encoded(word) for word in process.args]
    path, problem = _find(process.args[0], process.env.get("PATH", _DEFAULT_PATH))
    if not problem:
        interpreter = _interpreter(path)
        if interpreter is None:
            words = [_SHELL.encode(), b"sh", encoded(path), *words[1:]]
        elif _reachable(interpreter):
            words = [encoded(path), *words]
        else:
            problem = _NO_INTERPRETER
    if not problem:
        sc.execveat(start, sc.ExecImage(words, env))
    os.write(2, encoded(f"bash: {process.args[0]}: {problem}\n"))
    if process.args[0] == _SHELL:
        os.write(2, _NO_SHELL)
    return 127 if problem in _NOT_FOUND else 126


def _find(name: str, path: str) -> tuple[str, str]:
    """The file of a command and, in a shell's words, why it cannot be executed."""
    problem = "command not found"
    for candidate in [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in path.split(":")]:
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate, ""
            problem = "Permission denied"
    if "/" in name and problem == "command not found":
        problem = "Is a directory" if os.path.isdir(name) else "No such file or directory"
    return name, problem


def _reachable(path: bytes) -> bool:
    """Whether there is such a file. Links of procfs do not count: they would lead to the program of the runtime."""
    try:
        os.close(sc.openat2(sc.AT_FDCWD, path, os.O_PATH, resolve=sc.RESOLVE_NO_MAGICLINKS))
    except OSError:
        return False
    return True


def _interpreter(path: str) -> bytes | None:
    """What runs the file: itself, the program its first line names, or None for a script that names none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return encoded(path)  # it may be executed without being read
    head = os.read(fd, 256)
    os.close(fd)
    if head.startswith(b"#!"):
        line = head[2:].partition(b"\n")[0].replace(b"\t", b" ")
        return line.strip(b" ").partition(b" ")[0]
    return encoded(path) if head.startswith(b"\x7fELF") else None
