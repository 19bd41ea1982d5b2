"""What the stages of a Dockerfile begin with: stacks, earlier stages, images from elsewhere. Pure.

An image from elsewhere is described by its OCI configuration (image-spec, config.md), which a stranger wrote: what breaks
a rule is left out, and what a Dockerfile could not say either is refused when it is read as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buildpacks.dockerlines import DOCKERFILE, Instruction, Lines
from buildpacks.dockerstage import PATH, Stage, declare
from buildpacks.plan import FROM, BuildRefused, quoted

SCRATCH = "scratch"
_STAGE = re.compile(r"[a-z][a-z0-9._-]*")
_STACK = re.compile(r"debian-[0-9]{1,3}")
_DEBIAN = re.compile(r"(?:docker\.io/)?(?:library/)?debian:([a-z0-9]+)(?:-slim)?")
_SUITES = {"12": "12", "bookworm": "12", "13": "13", "trixie": "13"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FROM_OPTION = re.compile(r"(?:^|,)from=([^,]+)")
_MOST_IMAGES, _MOST_WORDS, _MOST_ENV_BYTES, _MOST_TRIGGERS = 12, 1024, 256 << 10, 50
_OURS = "paas."


def stack_of(name: str) -> str | None:
    """The stack that an image's name means: its own name, or Debian's own image of the same release."""
    if _STACK.fullmatch(name):
        return name
    match = _DEBIAN.fullmatch(name)
    return f"debian-{_SUITES[match[1]]}" if match and match[1] in _SUITES else None


@dataclass(frozen=True)
class Base:
    """What an image hands down to a stage that begins with it."""

    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    interpreter: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    triggers: tuple[str, ...] = ()
    """Its ONBUILD instructions."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Base:
        """From an image configuration. Labels of the platform's own are left out: they describe another image."""
        settings = config.get("config")
        settings = settings if isinstance(settings, dict) else {}
        pairs = (word.partition("=") for word in _words(settings, "Env"))
        env = {name: value for name, _, value in pairs if _VARIABLE.fullmatch(name)}
        while sum(len(name) + len(value) for name, value in env.items()) > _MOST_ENV_BYTES:
            env.popitem()
        more = {name: dict(_object(settings, name)) for name in ("ExposedPorts", "Labels", "Volumes")}
        more["Labels"] = {
            name: text
            for name, text in more["Labels"].items()
            if isinstance(text, str) and not name.startswith(_OURS)
        }
        kept: dict[str, Any] = {name: value for name, value in more.items() if value}
        if signal := _text(settings, "StopSignal"):
            kept["StopSignal"] = signal
        return cls(
            env=env,
            folder=_text(settings, "WorkingDir") or "/",
            user=_text(settings, "User"),
            interpreter=_words(settings, "Shell"),
            entrypoint=_words(settings, "Entrypoint"),
            command=_words(settings, "Cmd"),
            more=kept,
            triggers=_words(settings, "OnBuild")[:_MOST_TRIGGERS],
        )

    def stage(self, lines: Lines, index: int, name: str, outer: Mapping[str, str]) -> Stage:
        """A stage that begins with this image, which the steps call `name`."""
        made = Stage(lines, index, FROM + name, outer, env={"PATH": PATH, **self.env})
        made.folder, made.user, made.shell = self.folder, self.user, self.interpreter or made.shell
        made.entrypoint, made.command, made.more = self.entrypoint, self.command, dict(self.more)
        return made


def _words(settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = settings.get(name)
    words = value if isinstance(value, list) else []
    return tuple(word for word in words[:_MOST_WORDS] if isinstance(word, str) and "\0" not in word)


def _object(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = settings.get(name)
    return value if isinstance(value, dict) else {}


def _text(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name)
    return value if isinstance(value, str) and "\0" not in value else ""


@dataclass(frozen=True)
class Docker:
    """What is known beside the tree: the Dockerfile's path, the stage that is wanted, and images by the names they are called."""

    path: str = DOCKERFILE
    target: str = ""
    images: Mapping[str, Base] = field(default_factory=dict)


class Heads:
    """The FROM of each stage: what it is called, and what it begins with."""

    def __init__(self, lines: Lines) -> None:
        """Raises BuildRefused naming the line."""
        self._lines = lines
        self.before: dict[str, str] = {}
        """The ARGs before the first FROM."""
        for one in lines.before:
            declare(lines, one, self.before, {}, {})
        self._names: dict[str, int] = {}
        for index, stage in enumerate(lines.stages):
            words = stage[0].words
            name = words[-1].lower()
            named = len(words) == 3 and words[1].lower() == "as" and _STAGE.fullmatch(name)
            if named and name not in self._names:
                self._names[name] = index
            elif len(words) != 1:
                raise stage[0].refused("FROM takes an image, and AS with a name that no other stage has.")

    def target(self, name: str) -> int:
        """The stage of this name, or the last one. Raises BuildRefused."""
        index = self._names.get(name.lower(), -1) if name else len(self._lines.stages) - 1
        if index < 0:
            known = ", ".join(self._names) or "no stage has a name"
            raise BuildRefused(
                f"{self._lines.file} has no stage {quoted(name)}, which the app is set to build; there are: {known}.",
                "Choose another, or the last one: paas builds:set target=",
            )
        return index

    def earlier(self, word: str, index: int) -> int | None:
        """The stage before `index` that a name or a number means."""
        known = int(word) if word.isdecimal() and len(word) < 4 else index
        found = self._names.get(word.lower(), known)
        return found if found < index else None

    def image(self, index: int) -> str:
        """What the stage begins with, its variables put in. Raises BuildRefused."""
        start = self._lines.stages[index][0]
        base = self._lines.expanded(start.words[0], self.before, start)
        if not base:
            raise start.refused(
                f"{quoted(start.words[0])} is empty: an ARG before the first FROM gives it a value."
            )
        return base

    def wanted(self, target: int) -> dict[str, str]:
        """The images from elsewhere that the stage and those below it need, by line, with it. Raises BuildRefused."""
        found, seen, left = dict[str, Instruction](), set[int](), [target]
        while left:
            index = left.pop()
            if index in seen:
                continue
            seen.add(index)
            start = self._lines.stages[index][0]
            for word, one in ((self.image(index), start), *self._sources(index)):
                stage = self.earlier(word, index)
                if stage is not None:
                    left.append(stage)
                elif one is not start and word.lower() in self._names:
                    raise one.refused(f"{quoted(word)} is no earlier stage.", "Put it before this one.")
                elif word != SCRATCH and not stack_of(word) and "$" not in word and not word.isdecimal():
                    found[word] = min(one, found.get(word, one), key=lambda each: each.line)
        if len(found) > _MOST_IMAGES:
            raise BuildRefused(
                f"{self._lines.file} asks for {len(found)} images; {_MOST_IMAGES} are the most."
            )
        return {word: one.place for word, one in sorted(found.items(), key=lambda each: each[1].line)}

    def _sources(self, index: int) -> list[tuple[str, Instruction]]:
        """The stages and images that instructions of a stage copy from."""
        found = []
        for one in self._lines.stages[index][1:]:
            words = [one.flag("from")] if one.name == "COPY" else []
            for text in one.flags.get("mount", ()):
                words += _FROM_OPTION.findall(text)
            found += [(word, one) for word in words if word]
        return found
