"""Heroku's classic buildpacks: programs `bin/detect`, `bin/compile` and `bin/release` that somebody else wrote, run in order over
the source as the app's user. They lie in the repository, as a folder or an archive, or at an address. Pure.

The contract: `detect BUILD_DIR`, `compile BUILD_DIR CACHE_DIR ENV_DIR`, `release BUILD_DIR` which prints YAML; a file `export`
is sourced before the next one runs. BUILD_DIR is /app itself, so what they install finds itself again at run time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from shlex import quote
from urllib.parse import urlsplit

from buildpacks.failurehint import FailureHint
from buildpacks.plan import BuildRefused, Plan, Step, Tree, quoted, read_text

LIST = ".buildpacks"
RELEASE = "app/.buildpack-release"
"""Where in the layer the step leaves what says which processes there are."""
MOST = 10
TOOL = "env-dir"
CONFIG_NAMES = "PAAS_CONFIG_NAMES"
"""The variable in which the builder names the config vars for a step with the tool `env-dir`."""

_ADDRESS = re.compile(r"https?://[^\s\x00-\x1f\x7f]{3,500}")
_ARCHIVE = re.compile(r"\.(?:tgz|tar|tar\.gz|tar\.xz|tar\.bz2)$")
_PROCESS = re.compile(r"\s+([\"']?)([A-Za-z0-9][A-Za-z0-9_-]*)\1\s*:\s+(\S.*)")
_HINTS = (
    FailureHint(
        r"^the buildpack (?P<name>.+) does not fit: bin/detect refused$",
        "the buildpack {name} does not fit this app: its bin/detect refused",
        "Add the files that it looks for, or take it out of the list.",
    ),
    FailureHint(
        r"^there is no buildpack at (?P<name>.+): no bin/compile$",
        "there is no buildpack at {name}: it has no bin/compile",
        "Name a folder, an archive or a repository with bin/detect and bin/compile at its top.",
    ),
    FailureHint(
        r"^the buildpack (?P<name>.+) cannot be fetched$",
        "the buildpack {name} cannot be fetched",
        "See whether the address and what follows # are right, and whether the server may reach it; or commit the buildpack"
        " and name its folder.",
    ),
    FailureHint(
        r"^the buildpack (?P<name>.+) failed: bin/compile ended with (?P<status>\d+)$",
        "bin/compile of the buildpack {name} ended with status {status}",
        "The lines above are its own.",
    ),
)

_START = f"""
export CACHE_DIR=/cache/buildpacks ENV_DIR=/var/tmp/env GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=http:https
export STACK="$(. /etc/os-release; echo "$ID-$VERSION_ID")"
mkdir -p "$CACHE_DIR" "$ENV_DIR" /var/tmp/buildpacks
for name in ${{{CONFIG_NAMES}-}}; do printf %s "${{!name}}" >"$ENV_DIR/$name"; unset "$name"; done
unset {CONFIG_NAMES}
had_procfile=; [ ! -e Procfile ] || had_procfile=1
run_buildpack() {{
  local name=$1 pack=$2 status=0
  if [ ! -f "$pack/bin/compile" ]; then
    local inner=("$pack"/*)
    [ ! -f "${{inner[0]}}/bin/compile" ] || pack=${{inner[0]}}
  fi
  [ -f "$pack/bin/compile" ] || {{ echo "there is no buildpack at $name: no bin/compile"; exit 1; }}
  chmod -f +x "$pack"/bin/* || true
  if [ -e "$pack/bin/detect" ]; then
    local found; found=$("$pack/bin/detect" /app) || {{ echo "the buildpack $name does not fit: bin/detect refused"; exit 1; }}
    echo "$found app, by the buildpack $name"
  fi
  "$pack/bin/compile" /app "$CACHE_DIR" "$ENV_DIR" || status=$?
  [ $status = 0 ] || {{ echo "the buildpack $name failed: bin/compile ended with $status"; exit 1; }}
  if [ -f "$pack/export" ]; then set +e; . "$pack/export"; set -e; fi
  cd /app
  rm -rf .buildpack-release
  if [ -e "$pack/bin/release" ]; then "$pack/bin/release" /app | head -c 65536 >.buildpack-release; fi
}}
"""
_END = """
if [ -z "$had_procfile" ] && [ -f Procfile ]; then
  { echo default_process_types:; head -c 65536 Procfile | sed 's/^/  /'; } >.buildpack-release
fi
"""


def listed(tree: Tree) -> tuple[str, ...]:
    """What the file `.buildpacks` names, one a line."""
    if not tree.exists(LIST):
        return ()
    lines = (line.strip() for line in read_text(tree, LIST, 1 << 16).splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def is_one(tree: Tree, name: str) -> bool:
    """Whether this is the place of a buildpack: an address, or a folder or archive of the repository."""
    return bool(_ADDRESS.fullmatch(name)) or _place(tree, name) != ""


def plan(tree: Tree, wanted: Sequence[str]) -> Plan:
    """One step that runs the buildpacks in order. Raises BuildRefused for more than ten."""
    if len(wanted) > MOST:
        raise BuildRefused(f"{len(wanted)} buildpacks are asked for, more than {MOST}.")
    script = [_START]
    for number, one in enumerate(wanted, 1):
        folder = f"/var/tmp/buildpacks/{number}"
        script.append(f"{_fetch(tree, one, folder)}\nrun_buildpack {quote(shown(one))} {folder}\n")
    step = Step(
        name="classic",
        title=f"Running {'the buildpack' if len(wanted) == 1 else 'the buildpacks'} {', '.join(map(shown, wanted))}",
        script="".join([*script, _END]),
        outputs=("/app",),
        key=("classic-1", *wanted),
        source=True,
        config=True,
        after_source=True,
        tools=(TOOL,),
        failure_hints=_HINTS,
        reused="Buildpacks: nothing changed, their layer is reused",
    )
    where = LIST if tuple(wanted) == listed(tree) else "app.json"
    return Plan("Buildpack", where, steps=(step,), env={"LANG": "C.UTF-8"}, released=RELEASE)


def procfile_of(release: str) -> str:
    """The lines of a Procfile for `default_process_types` of what `bin/release` printed; unlike YAML at large, each command is
    one line, plain or in quotes. A line that is neither stays as it is, for the reader of the Procfile to refuse."""
    lines, inside = [], False
    for line in release.splitlines():
        if line[:1] not in ("", " ", "\t", "#"):
            inside = re.fullmatch(r":?default_process_types:\s*", line) is not None
        elif inside and (match := _PROCESS.fullmatch(line)):
            command = match[3].strip()
            if len(command) > 1 and command[0] == command[-1] and command[0] in "\"'":
                command = command[1:-1]
            lines.append(f"{match[2]}: {command}\n")
        elif inside:
            lines.append(f"{line.strip()}\n")
    return "".join(lines)


def shown(name: str) -> str:
    """How a buildpack is called in output: an address without the login that may stand in it."""
    if not _ADDRESS.fullmatch(name):
        return quoted(name)
    parts = urlsplit(name)
    host = parts.netloc.rpartition("@")[2]
    return quoted(f"{host}{parts.path}{'#' + parts.fragment if parts.fragment else ''}", 100)


def _place(tree: Tree, name: str) -> str:
    """The path of a folder or an archive of the repository; empty if it is none."""
    path = name.removeprefix("./").rstrip("/")
    if tree.exists(f"{path}/bin/compile") or (_ARCHIVE.search(path) and tree.exists(path)):
        return path
    return ""


def _fetch(tree: Tree, one: str, folder: str) -> str:
    """Commands that bring a buildpack to `folder`."""
    failed = f"{{ echo {quote(f'the buildpack {shown(one)} cannot be fetched')}; exit 1; }}"
    path = _place(tree, one)
    if path and not _ARCHIVE.search(path):
        return f"cp -a {quote('/app/' + path)} {folder}"
    if path:
        return f"mkdir {folder}; tar --no-same-owner -xf {quote('/app/' + path)} -C {folder} || {failed}"
    address, _, reference = one.partition("#")
    if _ARCHIVE.search(urlsplit(address).path):
        return (
            f"mkdir {folder}; curl -fsSL --retry 2 --max-filesize 200M -o {folder}.tar {quote(address)}"
            f" && tar --no-same-owner -xf {folder}.tar -C {folder} || {failed}"
        )
    return (
        f"git init -q {folder}; git -C {folder} fetch -q --depth 1 {quote(address)} {quote('+' + (reference or 'HEAD'))}"
        f" && git -C {folder} checkout -q FETCH_HEAD && git -C {folder} submodule -q update --init --depth 1 || {failed}"
    )
