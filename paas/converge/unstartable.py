"""Explains a shell's or the loader's complaint about a command that could not run: which file, why, and what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from buildpacks.aptnames import LIBRARIES
from buildpacks.aptpackages import PUT_IT

_WITHOUT_LIBRARY = "Take a build of the program that brings the library, or link it statically."
NOT_FOUND, NOT_EXECUTABLE = "command not found", "command not executable"

_SHELL = r"(?:\S*sh: (?:line )?(?:\d+: )?|\S+: line \d+: |\S+: \d+: )"
_SAID = re.compile(
    rf"{_SHELL}(?:exec: )?(?P<what>[^:]+(?::[^ :][^:]*)*): (?:cannot execute: )?"
    r"(?P<why>command not found|not found|No such file or directory|Permission denied|Is a directory"
    r"|required file not found|cannot execute binary file: Exec format error)"
)
_ENV = re.compile(r"(?:/usr/bin/)?env: [‘'\"](?P<what>.+?)(?P<end>\\r)?[’'\"]: No such file or directory")
_BAD = re.compile(rf"{_SHELL}(?P<file>[^:]+): (?P<what>[^:]+?)(?P<end>\^M|\\r)?: bad interpreter: .*")
_LIBRARY = re.compile(
    r"(?P<file>[^:]+): error while loading shared libraries: (?P<what>[^:]+): cannot open shared object file.*"
)
_FACTS = re.compile(r"bash: (?P<file>.+): mode (?P<mode>[0-7]{3,4}), first line (?P<line>.*)")
"""What the start of a process says of a file that could not be executed (`runs/specs.py`)."""
_NO_COMMAND = ("", "?", "$'\\r'")
"""What is left of a lone carriage return."""
_UNIX = "Convert it: sed -i 's/\\r$//' {file}"
_OF_PYTHON = frozenset(
    { "gunicorn", "uvicorn", "hypercorn", "daphne", "celery", "flask", "django-admin", "uwsgi", "waitress-serve", "streamlit", "alembic", "granian", "fastapi", "litestar", "rq", "dramatiq", "huey", "gradio" }
)  # fmt: skip
_OF_NODE = frozenset(
    { "next", "nuxt", "vite", "tsx", "ts-node", "nodemon", "pm2", "serve", "nest", "astro", "remix-serve", "webpack", "tsc" }
)  # fmt: skip
_OTHERS = frozenset(
    { "go", "php", "php-fpm", "ruby", "bundle", "bundler", "rails", "rake", "rackup", "puma", "java", "mvn", "gradle", "cargo", "elixir", "mix", "dotnet", "deno", "bun" }
)  # fmt: skip
_NO_COMMAND_FOUND, _NO_FILE = "command not found: ", "there is no file "
_OWN_START = (
    "The image has no {what}, which its CMD or ENTRYPOINT starts: correct that line, or COPY or install the program."
    " A program without a path is looked for on the image's PATH."
)
_FORMER = "Is its line ending that of Windows (CR LF)? " + _UNIX


@dataclass(frozen=True)
class Unstartable:
    """`what` it is about, its cause class, the sentence, and the hint."""

    what: str
    cause: str
    message: str
    hint: str


def explain(lines: Iterable[str], *, own_start: bool = False) -> Unstartable | None:
    """Explain the exit status 126 or 127 from what was printed; None when that says something else, because then the
    program itself chose the status. `own_start`: the image says itself what it starts, as one of a Dockerfile does."""
    found = _explained(lines)
    if found is None or not own_start:
        return found
    if found.message.startswith((_NO_COMMAND_FOUND, _NO_FILE)):
        return replace(found, hint=_OWN_START.format(what=found.what))
    if f"{found.what} is not executable" in found.message:
        return replace(found, hint=f"Give it the right in the Dockerfile: COPY --chmod=755 FILE {found.what}")
    return found


def _explained(lines: Iterable[str]) -> Unstartable | None:
    lines = [line.strip() for line in lines]
    facts = next((found for line in reversed(lines) if (found := _FACTS.fullmatch(line))), None)
    for line in reversed(lines):
        if match := _LIBRARY.fullmatch(line):
            return _library(match["file"], match["what"])
        if match := _BAD.fullmatch(line):
            return _interpreter(match["what"], match["file"], windows=bool(match["end"]))
        if match := _SAID.fullmatch(line):
            return _said(match["what"].strip(), match["why"], line, facts)
        if match := _ENV.fullmatch(line):
            return _env(match["what"], windows=bool(match["end"]))
    return None


def _said(what: str, why: str, line: str, facts: re.Match[str] | None) -> Unstartable:
    file = what.removeprefix("/app/").removeprefix("./")
    if what in _NO_COMMAND:
        script = line.partition(": ")[0]
        message = f"a line of {script} ends as in Windows (CR LF), and its end is taken for a command."
        return Unstartable(script, NOT_FOUND, message, _UNIX.format(file=script.removeprefix("/app/")))
    if why in ("command not found", "not found") and "/" not in what:
        return _missing(what)
    mode = f" (mode {facts['mode']})" if facts else ""
    if why == "Permission denied":
        hint = f"Make it executable, commit, and push again: git update-index --chmod=+x {file}"
        return Unstartable(what, NOT_EXECUTABLE, f"{what} is not executable{mode}.", hint)
    if why == "Is a directory":
        return Unstartable(what, NOT_EXECUTABLE, f"{what} is a folder.", "Name the program in it.")
    if why == "required file not found":
        return _required(what, file, facts["line"] if facts else "")
    if "Exec format" in why:
        message = f"{what} is neither a script nor a program for this machine{mode}."
        return Unstartable(what, NOT_EXECUTABLE, message, "Build it for Linux and this processor.")
    hint = f"Check the Procfile, and that {file} is committed: git ls-files {file}"
    return Unstartable(what, NOT_FOUND, f"{_NO_FILE}{what}.", hint)


def _required(what: str, file: str, line: str) -> Unstartable:
    """The kernel did not find what a file needs to run: its interpreter, or the loader of a program."""
    if line.startswith("#!"):
        name = line[2:].split()[0] if line[2:].split() else "nothing"
        return _interpreter(name.removesuffix("\\r"), file, windows=line.endswith("\\r"))
    if line.startswith("ELF"):
        message = f"the loader that {what} needs is not there: it was built for another system."
        return Unstartable(
            what,
            NOT_EXECUTABLE,
            message,
            "Build it for Debian (glibc), or statically; Alpine has another libc.",
        )
    message = f"the interpreter that the first line of {what} names does not exist."
    return Unstartable(what, NOT_FOUND, message, _FORMER.format(file=file))


def _interpreter(name: str, file: str, *, windows: bool) -> Unstartable:
    if windows:
        message = f"the first line of {file} asks for «{name}» with a line ending of Windows (CR LF)."
        return Unstartable(name, NOT_FOUND, message, _UNIX.format(file=file))
    message = f"the first line of {file} names the interpreter {name}, which does not exist."
    return Unstartable(
        name,
        NOT_FOUND,
        message,
        f"Name one that is there, such as #!/bin/bash or #!/usr/bin/env python3, in {file}.",
    )


def _env(name: str, *, windows: bool) -> Unstartable:
    if windows:
        message = f"the first line of a script asks for «{name}» with a line ending of Windows (CR LF)."
        return Unstartable(name, NOT_FOUND, message, "Convert it: sed -i 's/\\r$//' FILE")
    return _missing(name)


def _library(file: str, name: str) -> Unstartable:
    package = LIBRARIES.get(name)
    message = f"{file} needs the library {name}, which the stack does not have."
    where = f" It is in the Debian package {package}." if package else ""
    advice = PUT_IT.format(package=package) if package else _WITHOUT_LIBRARY
    return Unstartable(name, "library not found", message + where, advice)


_LOADING = re.compile(r"(?P<what>lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_GLIBC = re.compile(r"version `(?P<what>GLIBC(?:XX)?_[\d.]+)' not found \(required by (?P<file>[^)]+)\)")


def missing_library(lines: Iterable[str]) -> str:
    """What to say of a program that ended because it could not load a library; empty if it said no such thing."""
    for line in reversed(list(lines)):
        if match := _LOADING.search(line):
            return _library("The app", match["what"]).message
        if match := _GLIBC.search(line):
            return f"{match['file']} was built for a newer system: it needs {match['what']}. Take an older version of it."
    return ""


def _missing(name: str) -> Unstartable:
    base = name.rpartition("/")[2]
    if base in _OF_PYTHON or base in _OF_NODE:
        hint = f"Check the Procfile, and that {name} is among the dependencies{' (not devDependencies)' if base in _OF_NODE else ''}."
    elif base in _OTHERS:
        hint = f"The stack has no {name}, and the app was not built with it; check which buildpack the push detected."
    else:
        hint = f"Check its spelling in the Procfile: neither the stack nor what the build installed has a program {name}."
    return Unstartable(name, NOT_FOUND, f"{_NO_COMMAND_FOUND}{name}.", hint)
