"""Apps that bring all they need: a Procfile on the bare stack, and perhaps a Makefile for what it names. Pure."""

from __future__ import annotations

import re

from buildpacks.failurehint import FailureHint
from buildpacks.plan import Plan, Step, Tree, read_text

LOOKS_FOR = ("Procfile",)
_PROGRAM = re.compile(r"^[\w-]+:[ \t]*(?:exec[ \t]+)?(?:\./)?([\w./-]+)", re.MULTILINE)
_FAILURES = (
    FailureHint(
        r"fatal error: (?P<name>\S+\.h(?:pp)?): No such file",
        "compiling needs {name}, which the stack does not have",
        "Write the Debian package that holds it into a file named Aptfile.",
    ),
    FailureHint(
        r"/ld: cannot find -l(?P<name>[\w.+-]+)",
        "linking needs the library {name}, which the stack does not have",
        "Write the Debian package that holds it into a file named Aptfile.",
    ),
    FailureHint(
        r"^make: \*\*\* (?P<why>.+)$", "make says: {why}", "Its own words are above; make does the same elsewhere."
    ),
)  # fmt: skip


def detect(tree: Tree) -> str | None:
    return "Procfile" if tree.exists("Procfile") else None


def plan(tree: Tree) -> Plan:
    made = _made(tree)
    note = (
        f"{made} is not in the repository: make builds it"
        if made
        else "Nothing to install: the commands run on the bare stack (bash, Python 3.11, nginx)"
    )
    return Plan(
        language="Procfile-only",
        detected="Procfile",
        notes=(note,),
        steps=(_make(),) if made else (),
        env={"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
    )


def _made(tree: Tree) -> str:
    """A program that the Procfile names by its path and only the Makefile can bring; empty if there is none."""
    if not tree.exists("Makefile"):
        return ""
    text = read_text(tree, "Procfile", 65536)
    named = [match[1] for match in _PROGRAM.finditer(text) if "/" in match[0] and match[1][0] != "/"]
    return next((name for name in named if not tree.exists(name)), "")


def _make() -> Step:
    return Step(
        name="make",
        title="Running make",
        script="make\n",
        outputs=("/app",),
        key=("make-1",),
        source=True,
        config=True,
        after_source=True,
        failure_hints=_FAILURES,
        reused="Restoring cache: source and config unchanged, what make built is reused",
    )
