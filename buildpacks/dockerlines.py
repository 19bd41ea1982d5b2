"""A Dockerfile as stages of instructions, each with its line. Pure; the parser is BuildKit's, in Python.

The file is a tenant's: its size, its lines and what its variables grow to are bounded, and what is refused names the line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from e2b_dockerfile_utils import (
    DockerfileHeredoc,
    DockerfileInstruction,
    ShellLex,
    chomp_heredoc_content,
    parse_dockerfile_ast,
)

from buildpacks.plan import BuildRefused, Tree, quoted, read_text

DOCKERFILE = "Dockerfile"
_MOST_BYTES, _MOST_LINE, _MOST_INSTRUCTIONS, _MOST_STAGES = 256 << 10, 16 << 10, 300, 30
_MOST_VALUE = 64 << 10
_BY_PATTERN = re.compile(r"\$\{[A-Za-z0-9_]+[#%/]")
"""`${NAME#…}` and its like, which a hostile pattern could make last for ever."""
_FLAGS = {
    "FROM": ("platform",),
    "RUN": ("mount", "network"),
    "COPY": ("from", "chown", "chmod", "link"),
    "ADD": ("chown", "chmod", "link", "checksum"),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
}
_REFUSED = {
    "ONBUILD": "it acts on images that are built from this one, and there are none",
}
INSTRUCTIONS = (
    "FROM", "RUN", "CMD", "LABEL", "EXPOSE", "ENV", "ADD", "COPY", "ENTRYPOINT", "VOLUME", "USER", "WORKDIR", "ARG",
    "STOPSIGNAL", "HEALTHCHECK", "SHELL", "MAINTAINER",
)  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """`words` are as the parser leaves them, not yet expanded; of ENV and LABEL they are names and values in turn."""

    name: str
    line: int
    text: str
    flags: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...]
    exec_form: bool
    heredocs: tuple[DockerfileHeredoc, ...]
    file: str = DOCKERFILE

    def flag(self, name: str) -> str:
        """Its last value; empty without one."""
        return self.flags.get(name, ("",))[-1]

    def refused(self, reason: str, hint: str = "") -> BuildRefused:
        return BuildRefused(f"{self.place}: {reason}", hint)

    @property
    def place(self) -> str:
        return f"{self.file} line {self.line}"

    @property
    def shown(self) -> str:
        return f"{quoted(' '.join(self.text.split()), 90)} ({self.place})"


@dataclass(frozen=True)
class Lines:
    """The whole file: the ARGs before the first FROM, and each stage, which begins with its FROM."""

    before: tuple[Instruction, ...]
    stages: tuple[tuple[Instruction, ...], ...]
    escape: str
    file: str = DOCKERFILE

    def expanded(self, word: str, env: Mapping[str, str], where: Instruction, *, quotes: bool = True) -> str:
        """A word with its variables put in, and without its quotes unless they mean nothing here. Raises BuildRefused."""
        if _BY_PATTERN.search(word):
            raise where.refused("a variable with a pattern, as in ${NAME#PATTERN}, is not read here.")
        most = max(map(len, env.values()), default=0)
        if len(word) + word.count("$") * most > 64 * _MOST_VALUE:
            raise where.refused("its variables make it too long.")
        lex = ShellLex(self.escape, env=env, skip_unset_env=False, skip_process_quotes=not quotes)
        try:
            found = lex.process_word(word)
        except ValueError as error:
            raise where.refused(f"{quoted(str(error), 200)}.") from None
        if len(found) > _MOST_VALUE:
            raise where.refused(f"a word of more than {_MOST_VALUE >> 10} KiB.")
        return found

    def heredoc(self, heredoc: DockerfileHeredoc, env: Mapping[str, str], where: Instruction) -> str:
        """The text of a heredoc as COPY writes it."""
        text = chomp_heredoc_content(heredoc.content) if heredoc.chomp else heredoc.content
        return self.expanded(text, env, where, quotes=False) if heredoc.expand else text


def read_lines(tree: Tree, path: str = DOCKERFILE) -> Lines:
    """Raises BuildRefused naming the line."""
    text = read_text(tree, path, _MOST_BYTES)
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > _MOST_LINE:
            raise BuildRefused(f"{path} line {number} is longer than {_MOST_LINE >> 10} KiB.")
    instructions, escape = _parsed(text, path)
    before: list[Instruction] = []
    stages: list[list[Instruction]] = []
    for found in instructions:
        if found.name == "FROM":
            stages.append([found])
        elif stages:
            stages[-1].append(found)
        elif found.name == "ARG":
            before.append(found)
        else:
            raise found.refused(f"{found.name} stands before the first FROM.", "Begin with FROM debian-12.")
    if not stages or len(stages) > _MOST_STAGES:
        raise BuildRefused(f"{path} has {len(stages)} FROM; 1 to {_MOST_STAGES} are allowed.")
    return Lines(tuple(before), tuple(map(tuple, stages)), escape, path)


def read_triggers(texts: Sequence[str], where: Instruction) -> list[Instruction]:
    """The ONBUILD instructions of the image that a FROM names. Raises BuildRefused naming its line."""
    text = "\n".join(texts)
    if len(text) > _MOST_LINE:
        raise where.refused("the ONBUILD instructions of the image are too long.")
    found, _ = _parsed(text, f"{where.place}, ONBUILD of the image,")
    if any(one.name == "FROM" for one in found):
        raise where.refused("an ONBUILD of the image begins another one.")
    return [replace(one, line=where.line, file=where.file) for one in found]


def _parsed(text: str, file: str) -> tuple[list[Instruction], str]:
    """The instructions, and what escapes the end of a line. Raises BuildRefused."""
    try:
        ast = parse_dockerfile_ast(text)
    except (ValueError, RecursionError) as error:
        at = getattr(error, "line", None)
        place = f" line {at}" if at else ""
        reason = str(error).partition(": ")[2] or str(error)
        word = reason.partition("unknown instruction: ")[2]
        near = difflib.get_close_matches(word[:20].upper(), INSTRUCTIONS, 1) if word else []
        hint = f"Did you mean {near[0]}?" if near else ""
        raise BuildRefused(f"{file}{place} cannot be read: {quoted(reason, 200)}.", hint) from None
    if len(ast.instructions) > _MOST_INSTRUCTIONS:
        raise BuildRefused(f"{file} has more than {_MOST_INSTRUCTIONS} instructions.")
    return [_checked(found, file) for found in ast.instructions], ast.escape_token


def _checked(found: DockerfileInstruction, file: str) -> Instruction:
    flags: dict[str, tuple[str, ...]] = {}
    for flag in found.flags:
        name, _, value = flag.removeprefix("--").partition("=")
        flags[name] = (*flags.get(name, ()), value)
    words = tuple(found.args)
    if found.name in ("ENV", "LABEL"):
        words = tuple(word for at, word in enumerate(words) if at % 3 != 2)
    read = Instruction(
        found.name, found.start_line, found.original, flags, words, found.json, tuple(found.heredocs), file
    )
    if found.name in _REFUSED:
        raise read.refused(f"{found.name} is not supported: {_REFUSED[found.name]}.", "Remove the line.")
    for name in flags:
        if name not in _FLAGS.get(found.name, ()):
            raise read.refused(f"{found.name} --{quoted(name)} is not supported.")
    if read.flag("network") not in ("", "default"):
        raise read.refused("RUN --network is not supported: a build has the network of every build.")
    if not words and found.name not in ("RUN", "CMD", "ENTRYPOINT"):
        raise read.refused(f"{found.name} says nothing.")
    return read
