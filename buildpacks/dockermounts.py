"""`RUN --mount=…`: what a command sees while it runs, and no layer keeps. Pure."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass

from buildpacks.dockerlines import Instruction
from buildpacks.plan import WORK, quoted

_TYPES = {
    "bind": {"source", "src", "from", "target", "dst", "destination", "readonly", "ro", "rw", "readwrite"},
    "cache": {"id", "target", "dst", "destination", "sharing", "mode", "uid", "gid", "readonly", "ro"},
    "secret": {"id", "target", "dst", "destination", "required", "env", "mode", "uid", "gid"},
    "tmpfs": {"target", "dst", "destination", "size"},
}
_CONFIG_VAR = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NUMBER = re.compile(r"[0-7]{3,4}|[0-9]{1,5}")


@dataclass(frozen=True)
class Mounted:
    """`target` is an absolute path in the container, empty for a secret that is a variable only."""

    type: str
    target: str
    id: str = ""
    source: str = ""
    source_stage: str = ""
    variable: str = ""
    mode: str = ""
    uid: str = ""
    gid: str = ""
    required: bool = False

    def script(self) -> str:
        """What puts a secret, or a folder for the time of the step, in its place, in words of `dockerscript`."""
        target = shlex.quote(self.target)
        if self.type == "tmpfs":
            return f"t mkdir -p {target}"
        if self.type == "cache":
            return f"t chown {self.uid or 0}:{self.gid or 0} {target}; t chmod {self.mode or '755'} {target}"
        secret = f"{WORK}/secrets/{self.id}"
        lines = [f"if [ -f {secret} ]; then"]
        if self.target:
            lines.append(
                f"  t mkdir -p {shlex.quote(posixpath.dirname(self.target))}; t cp {secret} {target}"
            )
            lines.append(
                f'  t chown "{self.uid or "$uid"}:{self.gid or "$gid"}" {target}; t chmod {self.mode or "400"} {target}'
            )
        if self.variable:
            lines.append(f"  {self.variable}=$(t cat {secret}); export {self.variable}")
        if self.required:
            said = f"the secret {self.id} is no config var of the app: paas config:set {self.id}=…"
            lines.append(f"else echo {shlex.quote(said)} >&2; exit 1")
        return "\n".join([*lines, "fi"])


def read_mount(text: str, one: Instruction, folder: str) -> Mounted:
    """One `--mount`, in a RUN of which the commands run in `folder`. Raises BuildRefused."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    given = {name.strip().lower(): value for name, _, value in pairs}
    type = given.pop("type", "bind")
    if type not in _TYPES:
        raise one.refused(f"RUN --mount=type={quoted(type)} is not supported; there are {', '.join(_TYPES)}.")
    if unknown := sorted(given.keys() - _TYPES[type]):
        raise one.refused(f"RUN --mount=type={type} does not know {quoted(unknown[0])}.")
    target = given.get("target") or given.get("dst") or given.get("destination") or ""
    id, variable = given.get("id", ""), given.get("env", "")
    if type == "secret":
        if not _CONFIG_VAR.fullmatch(id) or (variable and not _CONFIG_VAR.fullmatch(variable)):
            raise one.refused(f"a secret's id is the name of a config var, {quoted(id)} is none.")
        target = target or ("" if variable else f"/run/secrets/{id}")
    elif not target:
        raise one.refused(f"RUN --mount=type={type} needs a target.")
    for name in ("mode", "uid", "gid"):
        if given.get(name) and not _NUMBER.fullmatch(given[name]):
            raise one.refused(f"RUN --mount: {name}={quoted(given[name])} is no number.")
    place = posixpath.normpath(posixpath.join(folder, target)).replace("//", "/") if target else ""
    if place == "/":
        raise one.refused("RUN --mount cannot cover the root.")
    return Mounted(
        type,
        place,
        id=id if type == "secret" else id or place,
        source=given.get("source") or given.get("src") or ".",
        source_stage=given.get("from", ""),
        variable=variable,
        mode=given.get("mode", ""),
        uid=given.get("uid", ""),
        gid=given.get("gid", ""),
        required=given.get("required", "false").lower() in ("", "true", "1"),
    )
