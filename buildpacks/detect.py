"""Which buildpack takes a tree: the registry, its order, and an explanation when none matches. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from buildpacks import go, node, procfile_only, python, static
from buildpacks.plan import BuildRefused, Plan, Tree, quoted


@dataclass(frozen=True)
class Buildpack:
    """`detect` names the file that made it match, or None."""

    name: str
    looks_for: tuple[str, ...]
    detect: Callable[[Tree], str | None]
    plan: Callable[[Tree], Plan]


BUILDPACKS = (
    Buildpack("go", go.LOOKS_FOR, go.detect, go.plan),
    Buildpack("python", python.LOOKS_FOR, python.detect, python.plan),
    Buildpack("node", node.LOOKS_FOR, node.detect, node.plan),
    Buildpack("static", static.LOOKS_FOR, static.detect, static.plan),
    Buildpack("procfile", procfile_only.LOOKS_FOR, procfile_only.detect, procfile_only.plan),
)
_MOST_COMPARED = 1000
_ALIASES = {
    "nodejs": "node",
    "golang": "go",
    "html": "static",
    "staticfile": "static",
    "procfile-only": "procfile",
}
_NODE_COMMANDS = re.compile(r"\b(node|npm|npx|yarn|pnpm|next|nuxt|ts-node|tsx)\b")
_PYTHON_COMMANDS = re.compile(
    r"\b(python3?|gunicorn|uvicorn|hypercorn|daphne|celery|flask|django-admin|uwsgi|waitress-serve|uv)\b"
)


def choose(tree: Tree, processes: Mapping[str, str] | None = None, wanted: Sequence[str] = ()) -> Plan:
    """The plan for a tree. `processes` is the Procfile's, `wanted` the `buildpacks` of app.json.

    Raises BuildRefused: nothing matches, an unknown buildpack, or what the chosen one refuses.
    """
    if next(iter(tree.names()), None) is None:
        raise BuildRefused("The commit contains no files.", "Commit the app, then push again.")
    if wanted:
        return _only_needed(_named(wanted).plan(tree), processes or {})
    matching = [pack for pack in BUILDPACKS if pack.detect(tree)]
    if not matching:
        raise _no_match(tree)
    chosen, reason = _prefer(tree, matching, processes or {})
    plan = _only_needed(chosen.plan(tree), processes or {})
    return replace(plan, notes=(reason, *plan.notes)) if reason else plan


def _only_needed(plan: Plan, processes: Mapping[str, str]) -> Plan:
    """The plan without the steps, and their default commands, that a Procfile makes needless."""
    needless = {step.serves for step in plan.steps if step.serves} if set(processes) - {"release"} else set()
    steps = tuple(step for step in plan.steps if step.serves not in needless)
    defaults = {name: text for name, text in plan.default_processes.items() if name not in needless}
    return replace(plan, steps=steps, default_processes=defaults)


def _prefer(tree: Tree, matching: list[Buildpack], processes: Mapping[str, str]) -> tuple[Buildpack, str]:
    by_name = {pack.name: pack for pack in matching}
    languages = [name for name in ("go", "python", "node") if name in by_name]
    if len(languages) < 2:
        return matching[0], ""
    other = "go.mod" if "go" in by_name else "package.json"
    web = processes.get("web") or " ".join(processes.values())
    for name, commands in (("python", _PYTHON_COMMANDS), ("node", _NODE_COMMANDS)):
        if name in by_name and commands.search(web):
            return by_name[name], f"{other} is there, too; the Procfile's command decides for {name}"
    if "go" in by_name:
        more = " and ".join(name.capitalize() for name in languages[1:])
        return by_name["go"], f'{more} files are there, too: taking go ("buildpacks" in app.json decides)'
    name = "node" if _starts_with_node(tree) and not tree.exists("manage.py") else "python"
    return by_name[
        name
    ], f'Both Python and Node files are there: taking {name} ("buildpacks" in app.json decides)'


def _starts_with_node(tree: Tree) -> bool:
    try:
        data = json.loads(tree.read("package.json"))
    except (ValueError, OSError, RecursionError):
        return False
    scripts = data.get("scripts") if isinstance(data, dict) else None
    return isinstance(scripts, dict) and "start" in scripts


def _named(wanted: Sequence[str]) -> Buildpack:
    if len(wanted) > 1:
        raise BuildRefused(
            f"app.json asks for {len(wanted)} buildpacks; one builds an app.", "Keep the one that serves it."
        )
    name = re.sub(r"^(?:heroku|paas|heroku-buildpack)[/-]", "", wanted[0].rstrip("/")).lower()
    for pack in BUILDPACKS:
        if pack.name == _ALIASES.get(name, name):
            return pack
    known = ", ".join(pack.name for pack in BUILDPACKS)
    raise BuildRefused(f"app.json asks for the buildpack {quoted(wanted[0])}; there are {known}.")


def _no_match(tree: Tree) -> BuildRefused:
    looked = [path for pack in BUILDPACKS for path in pack.looks_for]
    top = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in tree.names()})
    seen = ", ".join(quoted(name) for name in top[:12]) + (
        f" and {len(top) - 12} more" if len(top) > 12 else ""
    )
    return BuildRefused(
        f"No buildpack matched: saw {seen}; looked for {', '.join(looked)}.", _advice(tree, top, looked)
    )


def _advice(tree: Tree, top: Sequence[str], looked: Sequence[str]) -> str:
    def below(name: str) -> bool:
        folder, slash, base = name.rpartition("/")
        return bool(slash) and base in looked and base != "index.html" and folder.count("/") < 2

    misplaced = min(filter(below, tree.names()), default=None)
    if misplaced is not None:
        return f"{quoted(misplaced)} is there, but the app must lie at the root of the repository."
    for name in [name for name in top if not name.endswith("/")][:_MOST_COMPARED]:
        near = difflib.get_close_matches(name.lower(), [path.lower() for path in looked], 1, 0.85)
        if near:
            right = next(path for path in looked if path.lower() == near[0])
            return f"Is {quoted(name)} meant to be {right}?"
    return 'Add one of these files; a Procfile such as "web: ./serve" is enough.'
