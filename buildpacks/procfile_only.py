"""Apps that bring all they need: a Procfile on the bare stack. Pure."""

from __future__ import annotations

from buildpacks.plan import Plan, Tree

LOOKS_FOR = ("Procfile",)


def detect(tree: Tree) -> str | None:
    return "Procfile" if tree.exists("Procfile") else None


def plan(tree: Tree) -> Plan:
    return Plan(
        language="Procfile-only",
        detected="Procfile",
        notes=("Nothing to install: the commands run on the bare stack (bash, Python 3.11, nginx)",),
        env={"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
    )
