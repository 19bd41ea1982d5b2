"""The CLI with the words that somebody typed over SSH: `python -P -m paas.ssh.typed DESCRIPTOR`.

They come through a descriptor: a command line is everybody's to read (proc_pid_cmdline(5)), and words hold secrets.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

MAX_INPUT_BYTES = 1024 * 1024
"""More than any command takes from standard input, but for `run`, which passes it on."""


def hold(words: Sequence[str]) -> int:
    """A descriptor, kept across exec, that `main` reads the words from."""
    descriptor = os.memfd_create("words")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(list(words)).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return descriptor


def gather(words: Sequence[str]) -> None:
    """Wait for what a command reads whole before anything is started for it: a client may take its time."""
    if "-" not in words[1:] or words[0] == "run":
        return
    held = os.memfd_create("input")
    left = MAX_INPUT_BYTES + 1
    while left > 0 and (data := os.read(0, min(left, 65536))):
        os.write(held, data)
        left -= len(data)
    os.lseek(held, 0, os.SEEK_SET)
    os.dup2(held, 0)
    os.close(held)


def main() -> int:
    """Run the command; its exit status."""
    from paas.cli.main import main as command

    with open(int(sys.argv[1]), "rb") as file:
        words = json.loads(file.read())
    return command(words)


if __name__ == "__main__":
    sys.exit(main())
