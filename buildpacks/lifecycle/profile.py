"""The script that each process of the image begins with: what the launch layers set, then `exec.d`, then `profile.d`.

The platform sources `/app/.profile.d/*.sh` before a process, and names its type in PAAS_PROCESS.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildpacks.lifecycle import environment, launch

_SCRIPT, _PROGRAM = ".profile.d/000_buildpacks.sh", "config/launch.py"
_RUN = """if [ ${{#_exec_d[@]}} != 0 ]; then
  _said=$(/usr/bin/python3 -I -S -B {program} "${{_exec_d[@]}}" 9>&1 1>&2) || exit 1
  eval "$_said"
fi
unset _said _exec_d
"""


@dataclass(frozen=True)
class Launched:
    """The launch layers of one buildpack, sorted, and whether its API still has `profile.d`."""

    layers: Sequence[str]
    sourced: bool


def write(packs: Sequence[Launched], layers: Path, app: Path) -> None:
    """Write the script into the app, and what it runs beside the layers."""
    lines = [line for pack in packs for line in _variables(pack)]
    programs = list(_files(packs, "exec.d", "_exec_d+=({})\n"))
    if programs:
        program = layers / _PROGRAM
        program.parent.mkdir()
        program.write_text(Path(launch.__file__).read_text())
        lines += ["_exec_d=()\n", *programs, _RUN.format(program=shlex.quote(str(program)))]
    lines += _files([pack for pack in packs if pack.sourced], "profile.d", ". {}\n")
    (app / _SCRIPT).parent.mkdir(exist_ok=True)
    with open(app / _SCRIPT, "w", encoding="utf-8", errors="surrogateescape") as script:
        script.write("".join(lines))


def _variables(pack: Launched) -> Iterator[str]:
    for change in environment.of_folders(pack.layers, launch=True):
        yield change.shell()
    for layer in pack.layers:
        for folder in ("env", "env.launch"):
            for change in environment.of_files(f"{layer}/{folder}"):
                yield change.shell()
        for process in _processes(f"{layer}/env.launch"):
            for change in environment.of_files(f"{layer}/env.launch/{process}"):
                yield _only(process, change.shell())


def _files(packs: Sequence[Launched], folder: str, line: str) -> Iterator[str]:
    """A line for each file of this folder of all layers, then for those of one process type."""
    layers = [layer for pack in packs for layer in pack.layers]
    for layer in layers:
        for file in environment.files(f"{layer}/{folder}"):
            yield line.format(shlex.quote(file))
    for layer in layers:
        for process in _processes(f"{layer}/{folder}"):
            for file in environment.files(f"{layer}/{folder}/{process}"):
                yield _only(process, line.format(shlex.quote(file)))


def _processes(folder: str) -> list[str]:
    """Process types that have a folder of their own in it."""
    try:
        return sorted(name for name in os.listdir(folder) if os.path.isdir(f"{folder}/{name}"))
    except OSError:
        return []


def _only(process: str, line: str) -> str:
    """The line for one type of process, as it is called here."""
    name = process.replace(".", "-")
    return f'if [ "${{PAAS_PROCESS%%.*}}" = {shlex.quote(name)} ]; then {line.rstrip(chr(10))}; fi\n'
