"""Before each process of an image that buildpacks built: run programs of `exec.d`, and tell the shell which variables they set.

The shell gives the programs as words, in order, and evaluates what this writes to descriptor 9. It is one file of the standard
library, since the image has a copy of it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib

_SAID_BYTES = 1 << 20


class LaunchFailed(Exception):
    """The process cannot start; the message is a line for its log."""


def main(programs: list[str]) -> int:
    env = dict(os.environ)
    found: dict[str, str] = {}
    try:
        for program in programs:
            found |= _executed(program, env | found)
    except LaunchFailed as error:
        print(error, file=sys.stderr)
        return 1
    with open(9, "w", encoding="utf-8") as out:
        out.write("".join(f"export {name}={shlex.quote(text)}\n" for name, text in found.items()))
    return 0


def _executed(program: str, env: dict[str, str]) -> dict[str, str]:
    """The variables that a program writes to descriptor 3, as TOML. Raises LaunchFailed."""
    reader, writer = os.pipe()
    command = ["/bin/bash", "-c", 'exec "$0" 3>&"$1"', program, str(writer)]
    nothing = subprocess.DEVNULL
    with (
        open(reader, "rb") as pipe,
        subprocess.Popen(command, env=env, stdin=nothing, pass_fds=(writer,)) as child,
    ):
        os.close(writer)
        said = pipe.read(_SAID_BYTES)
        pipe.close()  # who writes more ends by SIGPIPE instead of waiting for ever
    if child.returncode:
        raise LaunchFailed(f"{program} ended with status {child.returncode}")
    try:
        found = tomllib.loads(said.decode())
    except ValueError as error:
        raise LaunchFailed(f"{program} wrote no TOML to descriptor 3: {str(error)[:120]}") from None
    for name, text in found.items():
        if not isinstance(text, str) or not (name.isidentifier() and name.isascii()) or "\0" in text:
            raise LaunchFailed(f"{program} wrote to descriptor 3 what is no variable: {name[:60]!r}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
