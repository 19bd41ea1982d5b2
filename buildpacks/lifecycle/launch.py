"""Before each process of an image that buildpacks built: the variables of their layers, and those of programs in `exec.d`.

A script in `/app/.profile.d` runs this by the image's Python and evaluates what it writes to descriptor 9.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from buildpacks.lifecycle.environment import add_layers, files

CONFIG = "/layers/config"
PLAN = f"{CONFIG}/launch.json"
"""Of each buildpack in order: its launch layers, sorted, and whether its API still has `profile.d`."""
PROFILE = f"""if _said=$(/usr/bin/python3 -I -S -B -c 'import sys; sys.path.insert(0, "{CONFIG}")
from buildpacks.lifecycle.launch import main; sys.exit(main())' 9>&1 1>&2); then eval "$_said"; unset _said; else exit 1; fi
"""
_SAID_BYTES = 1 << 20


class LaunchFailed(Exception):
    """The process cannot start; the message is a line for its log."""


def main() -> int:
    with open(PLAN, encoding="utf-8") as file:
        packs = json.load(file)
    process = os.environ.get("PAAS_PROCESS", "").partition(".")[0]
    try:
        said = script(packs, process, dict(os.environ))
    except LaunchFailed as error:
        print(error, file=sys.stderr)
        return 1
    with open(9, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.write(said)
    return 0


def script(packs: list[tuple[list[str], bool]], process: str, env: dict[str, str]) -> str:
    """Lines for the shell that starts the process: the variables that changed, then what `profile.d` wants sourced.
    Raises LaunchFailed."""
    before = dict(env)
    for layers, _ in packs:
        add_layers(env, layers, ("env", "env.launch", f"env.launch/{process}"), launch=True)
    for folder in ("exec.d", f"exec.d/{process}"):
        for layers, _ in packs:
            for layer in layers:
                for program in files(os.path.join(layer, folder)):
                    env.update(_executed(program, env))
    changed = (name for name in env if env[name] != before.get(name))
    lines = [f"export {name}={shlex.quote(env[name])}\n" for name in changed]
    for folder in ("profile.d", f"profile.d/{process}"):
        for layers, sourced in packs:
            for layer in layers if sourced else ():
                lines += [f". {shlex.quote(one)}\n" for one in files(os.path.join(layer, folder))]
    return "".join(lines)


def write(layers: Path, app: Path, packs: list[tuple[list[str], bool]], shipped: tuple[str, ...]) -> None:
    """Write what `main` reads beside the layers, with `shipped` files of this package, and the script that runs it."""
    home = Path(__file__).parent
    target = layers / "config" / "buildpacks" / "lifecycle"
    target.mkdir(parents=True)
    for name in shipped:
        (target / name).write_text((home / name).read_text())
    (target.parent / "__init__.py").write_text("")
    (layers / "config" / "launch.json").write_text(json.dumps(packs))
    (app / ".profile.d").mkdir(exist_ok=True)
    (app / ".profile.d" / "000_buildpacks.sh").write_text(PROFILE)


def _executed(program: str, env: dict[str, str]) -> dict[str, str]:
    """The variables that a program of `exec.d` writes to descriptor 3, as TOML."""
    import tomllib

    reader, writer = os.pipe()
    command = ["/bin/bash", "-c", 'exec "$0" 3>&"$1"', program, str(writer)]
    nothing = subprocess.DEVNULL
    with (
        open(reader, "rb") as pipe,
        subprocess.Popen(command, env=env, cwd="/app", stdin=nothing, pass_fds=(writer,)) as child,
    ):
        os.close(writer)
        said = pipe.read(_SAID_BYTES)
    if status := child.returncode:
        raise LaunchFailed(f"{program} ended with status {status}")
    try:
        found = tomllib.loads(said.decode())
    except ValueError as error:
        raise LaunchFailed(f"{program} wrote no TOML to descriptor 3: {str(error)[:120]}") from None
    for name, text in found.items():
        if not isinstance(text, str) or not name.isidentifier() or not name.isascii() or "\0" in text:
            raise LaunchFailed(f"{program} wrote to descriptor 3 what is no variable: {name[:60]!r}")
    return found
