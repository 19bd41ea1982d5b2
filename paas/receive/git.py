"""git as this daemon runs it: its command line, its whole environment, and the bounds of its process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from runtime.kernel.confine import Bounds

GIT = "/usr/bin/git"

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
"""The whole environment of git: nothing of the client's reaches it."""

CONFIG = (
    "core.bigFileThreshold=8m",
    "core.deltaBaseCacheLimit=64m",
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=512m",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=2",
    "protocol.allow=never",
)


PROGRAMS = tuple(
    path for path in ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache") if os.path.exists(path)
)
"""Where git and its libraries are."""


def bounds(
    *,
    read: Sequence[Path] = (),
    write: Sequence[Path] = (),
    memory_bytes: int = 1 << 31,
    file_bytes: int = 1 << 30,
    cpu_s: int = 300,
) -> Bounds:
    """Bounds of a child that runs git: access to these folders and git's own files, no network."""
    return Bounds(
        read=("/dev/null", "/dev/urandom", *read),
        write=("/dev/null", *write),
        run=PROGRAMS,
        programs=True,
        memory_bytes=memory_bytes,
        file_bytes=file_bytes,
        cpu_s=cpu_s,
        open_files=256,
    )


def command(git_dir: Path, *words: str) -> list[str]:
    """The argument vector of a git command on a bare repository."""
    settings = [part for entry in CONFIG for part in ("-c", entry)]
    return [GIT, f"--git-dir={git_dir}", *settings, *words]
