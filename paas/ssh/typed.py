"""The CLI with words that were typed over SSH: `python -P -m paas.ssh.typed DESCRIPTOR`.

They come through a descriptor: everybody can read a command line (proc_pid_cmdline(5)), and words hold secrets.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

MAX_INPUT_BYTES = 1024 * 1024
"""More than any command reads from standard input, except those that pass it on."""
PASSES_ON = frozenset({"deploy", "run"})
"""Commands whose input has no end that is known: an archive, and what a program reads."""


def hold(words: Sequence[str]) -> int:
    """A descriptor, kept across exec, from which `main` reads the words."""
    descriptor = os.memfd_create("words")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(list(words)).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return descriptor


def gather(words: Sequence[str]) -> None:
    """Read the standard input of a command that needs all of it (`-`), before the CLI starts: a slow client costs less."""
    if "-" not in words[1:] or words[0] in PASSES_ON:
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
