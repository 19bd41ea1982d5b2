"""Buildpacks that somebody else wrote, in one of two kinds: Heroku's classic ones and Cloud Native Buildpacks. Which there are,
where they come from, and the step that runs them in order over the source, as the app's user. Pure.

They lie in the repository, as a folder or an archive, or at an address; a Cloud Native Buildpack may be an image, too. What kind
they are is seen when they are there: `bin/compile` makes a classic one, `buildpack.toml` or an OCI layout one of the other kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from shlex import quote
from urllib.parse import urlsplit

from buildpacks import classic, cnb, projecttoml
from buildpacks.dockerbase import Base
from buildpacks.failurehint import FailureHint
from buildpacks.plan import BuildRefused, Plan, Step, Tree, quoted, read_text

LANGUAGE, LIST = "Buildpack", ".buildpacks"
NOTHING: Mapping[str, Base] = {}
RELEASE = "app/.buildpack-release"
"""Where in the layer the step leaves what says which processes there are."""
MOST = 10
TOOL = "env-dir"
CONFIG_NAMES = "PAAS_CONFIG_NAMES"
"""The variable in which the builder names the config vars for a step with the tool `env-dir`."""

_ADDRESS = re.compile(r"https?://[^\s\x00-\x1f\x7f]{3,500}")
_IMAGE = re.compile(r"docker://[^\s\x00-\x1f\x7f]{1,500}")
_ARCHIVE = re.compile(r"\.(?:tgz|tar|tar\.gz|tar\.xz|tar\.bz2|cnb)$")
_HINTS = (
    FailureHint(
        r"^there is no buildpack at (?P<name>.+): neither bin/compile nor buildpack.toml$",
        "there is no buildpack at {name}: it has neither bin/compile nor buildpack.toml",
        "Name a folder, an archive or a repository with one of them at its top.",
    ),
    FailureHint(
        r"^the buildpack (?P<name>.+) cannot be fetched$",
        "the buildpack {name} cannot be fetched",
        "See whether the address and what follows # are right, and whether the server may reach it; or commit the buildpack"
        " and name its folder.",
    ),
    FailureHint(
        r"^the buildpack (?P<name>.+) cannot be unpacked$",
        "the buildpack {name} cannot be unpacked",
        "It must be a tar, plain or compressed by gzip, bzip2 or xz, and no pointer of Git LFS.",
    ),
    FailureHint(
        r"^the buildpack (?P<name>.+) is of another kind than those before it$",
        "the buildpack {name} is of another kind than those before it",
        "Name buildpacks of one kind: classic ones (bin/compile), or Cloud Native Buildpacks (buildpack.toml).",
    ),
)

_START = f"""
export CACHE_DIR=/cache/buildpacks ENV_DIR={cnb.PLATFORM}/env GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=http:https
export STACK="$(. /etc/os-release; echo "$ID-$VERSION_ID")"
mkdir -p "$CACHE_DIR" "$ENV_DIR" /var/tmp/buildpacks
for name in ${{{CONFIG_NAMES}-}}; do printf %s "${{!name}}" >"$ENV_DIR/$name"; unset "$name"; done
unset {CONFIG_NAMES}
packs=() kind=
take() {{
  local pack=$2 inner is
  [ -f "$pack/bin/compile" ] || [ -f "$pack/buildpack.toml" ] || [ -f "$pack/oci-layout" ] || {{
    inner=("$pack"/*)
    [ ! -f "${{inner[0]}}/bin/compile" -a ! -f "${{inner[0]}}/buildpack.toml" ] || pack=${{inner[0]}}
  }}
  if [ -f "$pack/bin/compile" ] && [ ! -f "$pack/bin/build" ]; then is=classic
  elif [ "${{pack#image:}}" != "$pack" ] || [ -f "$pack/buildpack.toml" ] || [ -f "$pack/oci-layout" ]; then is=native
  else echo "there is no buildpack at $1: neither bin/compile nor buildpack.toml"; exit 1
  fi
  [ "${{kind:=$is}}" = $is ] || {{ echo "the buildpack $1 is of another kind than those before it"; exit 1; }}
  packs+=("$1" "$pack")
}}
"""
_RUN = f"""
if [ $kind = native ]; then
{cnb.RUN}
else
{classic.RUN}
fi
"""


def listed(tree: Tree) -> tuple[str, ...]:
    """What the file `.buildpacks` names, one a line; without it, what `project.toml` does. Raises BuildRefused."""
    if not tree.exists(LIST):
        return projecttoml.listed(tree)
    lines = (line.strip() for line in read_text(tree, LIST, 1 << 16).splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def lists(tree: Tree, wanted: Sequence[str]) -> str:
    """The file that names these."""
    own = LIST if tree.exists(LIST) else projecttoml.PROJECT
    return own if tuple(wanted) == listed(tree) else "app.json"


def is_one(tree: Tree, name: str) -> bool:
    """Whether this is the place of a buildpack: an address, an image, a script, or a folder or archive of the repository."""
    place = _ADDRESS.fullmatch(name) or _IMAGE.fullmatch(name) or name.startswith(f"{projecttoml.PROJECT}#")
    return bool(place) or _place(tree, name) != ""


def plan(tree: Tree, wanted: Sequence[str], known: Mapping[str, Base] = NOTHING) -> Plan:
    """One step that runs the buildpacks in order, or, if images are missing in `known`, a plan that only `wants` them.
    Raises BuildRefused for more than ten."""
    if len(wanted) > MOST:
        raise BuildRefused(f"{len(wanted)} buildpacks are asked for, more than {MOST}.")
    where = lists(tree, wanted)
    images = tuple(dict.fromkeys(one.removeprefix(cnb.IMAGE) for one in wanted if _IMAGE.fullmatch(one)))
    if missing := [name for name in images if name not in known]:
        return Plan(LANGUAGE, where, wants=tuple((name, where) for name in missing))
    return Plan(
        LANGUAGE,
        where,
        steps=_steps(tree, wanted, {name: known[name] for name in images}),
        env={"LANG": "C.UTF-8"},
        released=RELEASE,
    )


def _steps(tree: Tree, wanted: Sequence[str], images: Mapping[str, Base]) -> tuple[Step, ...]:
    maybe_native = not all(tree.exists(f"{_place(tree, one)}/bin/compile") for one in wanted)
    script = [cnb.UNPACK if maybe_native else "", _START]
    for name, text in projecttoml.variables(tree).items():
        script.append(f'[ -e "$ENV_DIR/{name}" ] || printf %s {quote(text)} >"$ENV_DIR/{name}"\n')
    for number, one in enumerate(wanted, 1):
        folder = f"/var/tmp/buildpacks/{number}"
        if _native_folder(tree, one):  # where it lies, beside those that its package.toml names
            folder = quote(f"/app/{_place(tree, one)}")
        if _IMAGE.fullmatch(one):
            folder = f"image:{[*images].index(one.removeprefix(cnb.IMAGE)) + 1}"
        script.append(f"{_fetch(tree, one, folder)}\ntake {quote(shown(one))} {folder}\n")
    step = Step(
        name="classic",
        title=f"Running {'the buildpack' if len(wanted) == 1 else 'the buildpacks'} {', '.join(map(shown, wanted))}",
        script="".join([*script, _RUN]),
        outputs=("/app",),
        apart=(cnb.LAYERS,) if maybe_native else (),
        images=tuple(images),
        env={f"{cnb.LABEL}{number}": cnb.label(base) for number, base in enumerate(images.values(), 1)},
        key=("foreign-1", *wanted),
        written=cnb.program() if maybe_native else (),
        source=True,
        config=True,
        after_source=True,
        tools=(TOOL,),
        onto=(cnb.FOLDER_STEP,) if maybe_native else (),
        failure_hints=(*_HINTS, *classic.HINTS, *cnb.HINTS),
        reused="Buildpacks: nothing changed, their layers are reused",
    )
    return (cnb.folder_step(), step) if maybe_native else (step,)


def shown(name: str) -> str:
    """How a buildpack is called in output: an address without the login that may stand in it."""
    if not _ADDRESS.fullmatch(name):
        return quoted(name.removeprefix(cnb.IMAGE), 100)
    parts = urlsplit(name)
    host = parts.netloc.rpartition("@")[2]
    return quoted(f"{host}{parts.path}{'#' + parts.fragment if parts.fragment else ''}", 100)


def _place(tree: Tree, name: str) -> str:
    """The path of a folder or an archive of the repository; empty if it is none."""
    path = name.removeprefix("./").rstrip("/")
    if any(tree.exists(f"{path}/{file}") for file in ("bin/compile", "buildpack.toml")):
        return path
    return path if _ARCHIVE.search(path) and tree.exists(path) else ""


def _native_folder(tree: Tree, name: str) -> bool:
    path = _place(tree, name)
    return tree.exists(f"{path}/buildpack.toml") and not tree.exists(f"{path}/bin/compile")


def _fetch(tree: Tree, one: str, folder: str) -> str:
    """Commands that bring a buildpack to `folder`; none for what is there already."""
    if _IMAGE.fullmatch(one) or _native_folder(tree, one):
        return ""
    if written := projecttoml.script(tree, one, folder):
        return written
    failed = f"{{ echo {quote(f'the buildpack {shown(one)} cannot be fetched')}; exit 1; }}"
    path = _place(tree, one)
    if path and not _ARCHIVE.search(path):
        return f"cp -a {quote('/app/' + path)} {folder}"
    if path:
        broken = failed.replace("cannot be fetched", "cannot be unpacked")
        return f"mkdir {folder}; tar --no-same-owner -xf {quote('/app/' + path)} -C {folder} || {broken}"
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
