"""The CLI with the words that somebody typed over SSH: `python -P -m paas.git.typed DESCRIPTOR`.

They come through a descriptor: a command line is everybody's to read (proc_pid_cmdline(5)), and words hold secrets.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence


def hold(words: Sequence[str]) -> int:
    """A descriptor, kept across exec, that `main` reads the words from."""
    descriptor = os.memfd_create("words")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(list(words)).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return descriptor


def main() -> int:
    """Run the command; its exit status."""
    from paas.cli.main import main as command

    with open(int(sys.argv[1]), "rb") as file:
        words = json.loads(file.read())
    return command(words)


if __name__ == "__main__":
    sys.exit(main())
