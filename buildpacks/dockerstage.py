"""A stage of a Dockerfile: what its instructions have said so far, and those of them that change no file. Pure."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from buildpacks.dockerlines import Instruction, Lines
from buildpacks.plan import quoted

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL = ("/bin/sh", "-c")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PORT = re.compile(r"([0-9]{1,5})(/tcp|/udp)?")
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
PLATFORM = {
    f"{of}{name}": value
    for of in ("TARGET", "BUILD")
    for name, value in (
        ("PLATFORM", f"linux/{_MACHINE}"),
        ("OS", "linux"),
        ("ARCH", _MACHINE),
        ("VARIANT", ""),
    )
}
"""ARGs that every Dockerfile may declare."""


@dataclass
class Stage:
    """`base` is a step's; `chain` are the names of its steps and of those it stands on, lowest first."""

    lines: Lines
    index: int
    base: str
    outer: Mapping[str, str]
    """The ARGs before the first FROM."""
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    args: dict[str, str] = field(default_factory=dict)
    chain: tuple[str, ...] = ()
    folder: str = "/"
    unmade: str = ""
    """The WORKDIR that no step has made yet."""
    user: str = ""
    shell: tuple[str, ...] = _SHELL
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)
    """The rest of the image's configuration, in its own words."""
    warnings: tuple[str, ...] = ()
    machine_apt: bool = False
    """Whether apt asks the machine's sources: over a stack, until an instruction writes others."""

    @property
    def variables(self) -> dict[str, str]:
        return {**self.args, **self.env}

    def expanded(self, word: str, one: Instruction) -> str:
        return self.lines.expanded(word, self.variables, one)

    def path(self, text: str) -> str:
        """An absolute path; a relative one begins at the WORKDIR."""
        return posixpath.normpath(posixpath.join(self.folder, text)).replace("//", "/")

    def config(self) -> dict[str, Any]:
        """`config` of an OCI image configuration."""
        return {
            "Env": [f"{name}={value}" for name, value in self.env.items()],
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "WorkingDir": self.folder,
            "User": self.user,
            **self.more,
        }

    def says(self, one: Instruction) -> None:
        """Take in an instruction that changes no file. Raises BuildRefused."""
        reader = _READERS.get(one.name)
        if reader is None:
            raise one.refused(f"{one.name} is not supported.", "Remove the line.")
        reader(self, one)

    def _arg(self, one: Instruction) -> None:
        declare(self.lines, one, self.args, self.env, {**PLATFORM, **self.outer})

    def _env(self, one: Instruction) -> None:
        known = self.variables
        for name, value in zip(one.words[::2], one.words[1::2], strict=True):
            name = self.lines.expanded(name, known, one)
            if not _NAME.fullmatch(name):
                raise one.refused(f"{quoted(name)} cannot be the name of a variable.")
            self.env[name] = self.lines.expanded(value, known, one)

    def _label(self, one: Instruction) -> None:
        words = [self.expanded(word, one) for word in one.words]
        self._add("Labels", dict(zip(words[::2], words[1::2], strict=True)))

    def _workdir(self, one: Instruction) -> None:
        self.folder = self.unmade = self.path(self.expanded(one.words[0], one))

    def _user(self, one: Instruction) -> None:
        self.user = self.expanded(one.words[0], one)

    def _shell(self, one: Instruction) -> None:
        if not one.exec_form:
            raise one.refused("SHELL takes a list.", 'Write SHELL ["/bin/bash", "-c"]')
        self.shell = one.words

    def _entrypoint(self, one: Instruction) -> None:
        self.entrypoint = self._started(one)

    def _cmd(self, one: Instruction) -> None:
        self.command = self._started(one)

    def _started(self, one: Instruction) -> tuple[str, ...]:
        if one.exec_form or not one.words:
            return one.words
        text = one.words[0].strip()
        if text.startswith("[") and text.endswith("]"):
            meant = [word.strip("\"'") for word in re.split(r"[,\s]+", text[1:-1].strip())]
            self.warnings += (
                f"{one.place}: {quoted(text)} is no JSON list, so a shell is given it as it stands; write"
                f" {one.name} {quoted(json.dumps(meant), 200)}",
            )
        return (*self.shell, one.words[0])

    def _expose(self, one: Instruction) -> None:
        for word in self.expanded(" ".join(one.words), one).split():
            match = _PORT.fullmatch(word)
            if not match or not 0 < int(match[1]) < 65536:
                raise one.refused(f"{quoted(word)} is no port.", "Write one like 8080.")
            self._add("ExposedPorts", {f"{match[1]}{match[2] or '/tcp'}": {}})

    def _stopsignal(self, one: Instruction) -> None:
        self.more["StopSignal"] = self.expanded(one.words[0], one)

    def _volume(self, one: Instruction) -> None:
        words = one.words if one.exec_form else [self.expanded(word, one) for word in one.words]
        self._add("Volumes", {word: {} for word in words})
        self.warnings += (f"VOLUME {quoted(', '.join(words))}: what is written there goes with the instance",)

    def _healthcheck(self, one: Instruction) -> None:
        if one.words[0] != "NONE":
            self.warnings += ("HEALTHCHECK is not run: the platform asks the web process over HTTP",)

    def _maintainer(self, one: Instruction) -> None:
        self._add("Labels", {"maintainer": one.words[0]})

    def _add(self, key: str, values: dict[str, Any]) -> None:
        self.more[key] = {**self.more.get(key, {}), **values}


def declare(
    lines: Lines, one: Instruction, into: dict[str, str], env: Mapping[str, str], defaults: Mapping[str, str]
) -> None:
    """Take in an ARG: its value, or the default that its name has. Raises BuildRefused."""
    for word in one.words:
        name, given, value = lines.expanded(word, {**into, **env}, one).partition("=")
        if not _NAME.fullmatch(name):
            raise one.refused(f"{quoted(name)} cannot be the name of a variable.")
        if given:
            into[name] = value
        elif name in defaults:
            into[name] = defaults[name]


_READERS: dict[str, Callable[[Stage, Instruction], None]] = {
    "ARG": Stage._arg, "ENV": Stage._env, "LABEL": Stage._label, "WORKDIR": Stage._workdir, "USER": Stage._user,
    "SHELL": Stage._shell, "ENTRYPOINT": Stage._entrypoint, "CMD": Stage._cmd, "EXPOSE": Stage._expose,
    "STOPSIGNAL": Stage._stopsignal, "VOLUME": Stage._volume, "HEALTHCHECK": Stage._healthcheck,
    "MAINTAINER": Stage._maintainer,
}  # fmt: skip
