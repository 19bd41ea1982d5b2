"""Which buildpack takes a tree: the registry, its order, and an explanation when none matches. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from buildpacks import (
    aptpackages,
    bun,
    deno,
    dockerfile,
    foreign,
    go,
    java,
    node,
    php,
    procfile_only,
    python,
    ruby,
    static,
)
from buildpacks.advice import unmatched
from buildpacks.dockerbase import Docker
from buildpacks.libraries import checked
from buildpacks.plan import BuildRefused, Plan, Step, Tree, quoted
from buildpacks.pyversion import STACK_ONLY, Pythons


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
    Buildpack("php", php.LOOKS_FOR, php.detect, php.plan),
    Buildpack("ruby", ruby.LOOKS_FOR, ruby.detect, ruby.plan),
    Buildpack("java", java.LOOKS_FOR, java.detect, java.plan),
    Buildpack("bun", bun.LOOKS_FOR, bun.detect, bun.plan),
    Buildpack("deno", deno.LOOKS_FOR, deno.detect, deno.plan),
    Buildpack("node", node.LOOKS_FOR, node.detect, node.plan),
    Buildpack("static", static.LOOKS_FOR, static.detect, static.plan),
    Buildpack("dockerfile", dockerfile.LOOKS_FOR, dockerfile.detect, dockerfile.plan),
    Buildpack("procfile", procfile_only.LOOKS_FOR, procfile_only.detect, procfile_only.plan),
)
_ALIASES = {
    "nodejs": "node",
    "jvm": "java",
    "maven": "java",
    "gradle": "java",
    "golang": "go",
    "html": "static",
    "staticfile": "static",
    "procfile-only": "procfile",
}
_FOREIGN = re.compile(
    r"^(?:https?://github\.com/|git@github\.com:|https?://buildpack-registry\.s3\.amazonaws\.com/buildpacks/|urn:buildpack:)?"
    r"(?:heroku|heroku-community|paas)/(?:heroku-)?(?:buildpack-)?|^heroku-(?:buildpack-)?|^paas-"
)
"""What stands before a language in the names and addresses of Heroku's own buildpacks."""
_APT = re.compile(r"(?:^|[/-])(?:apt|deb-packages)(?:\.git|\.tgz)?(?:#.*)?/?$")
"""A buildpack beside the language's that only installs what Aptfile names, as is done here for every app."""
_NODE_COMMANDS = re.compile(r"\b(node|npm|npx|yarn|pnpm|next|nuxt|ts-node|tsx|bunx?|deno)\b")
_PYTHON_COMMANDS = re.compile(
    r"\b(python3?|gunicorn|uvicorn|hypercorn|daphne|celery|flask|django-admin|uwsgi|waitress-serve|uv)\b"
)


def choose(
    tree: Tree,
    processes: Mapping[str, str] | None = None,
    wanted: Sequence[str] = (),
    pythons: Pythons = STACK_ONLY,
    docker: Docker = dockerfile.NOTHING_KNOWN,
) -> Plan:
    """The plan for a tree. `processes` is the Procfile's, `wanted` the `buildpacks` of app.json, `pythons` what there is,
    `docker` what is known of images, and for a Dockerfile. A plan that `wants` images is none yet.

    Raises BuildRefused: nothing matches, an unknown buildpack, or what the chosen one refuses.
    """
    plan = _chosen(tree, processes, [one for one in wanted if not _APT.search(one)], pythons, docker)
    if plan.config is not None or plan.wants:
        return plan
    packages = (*plan.packages, *aptpackages.asked_for(tree))
    steps = [aptpackages.packages_step(packages)] if packages else []
    if plan.build_packages:
        steps.append(aptpackages.packages_step(plan.build_packages, in_image=False))
    return checked(replace(plan, steps=(*steps, *plan.steps)))


def _chosen(
    tree: Tree, processes: Mapping[str, str] | None, wanted: Sequence[str], pythons: Pythons, docker: Docker
) -> Plan:
    if next(iter(tree.names()), None) is None:
        raise BuildRefused("The commit contains no files.", "Commit the app, then push again.")
    wanted = wanted or foreign.listed(tree)
    if wanted and not any(map(_known, wanted)) and all(foreign.is_one(tree, one) for one in wanted):
        return foreign.plan(tree, wanted, docker.images)
    if wanted:
        return _only_needed(_plan(_named(tree, wanted), tree, pythons, docker), processes or {})
    matching = [pack for pack in BUILDPACKS if pack.detect(tree)]
    if not matching and python.detect_bare(tree):
        return python.plan(tree, pythons)
    if not matching:
        raise unmatched(tree, [pack.looks_for for pack in BUILDPACKS])
    chosen, reason = _prefer(tree, matching, processes or {})
    plan = _only_needed(_plan(chosen, tree, pythons, docker), processes or {})
    return replace(plan, notes=(reason, *plan.notes)) if reason else plan


def _plan(pack: Buildpack, tree: Tree, pythons: Pythons, docker: Docker) -> Plan:
    if pack.name == "dockerfile":
        return dockerfile.plan(tree, docker)
    return python.plan(tree, pythons) if pack.name == "python" else pack.plan(tree)


def _only_needed(plan: Plan, processes: Mapping[str, str]) -> Plan:
    """The plan without the steps, and their default commands, that a Procfile makes needless."""
    needless = {step.serves for step in plan.steps if step.serves} if set(processes) - {"release"} else set()
    steps = tuple(step for step in plan.steps if step.serves not in needless or _named_in(processes, step))
    defaults = {name: text for name, text in plan.default_processes.items() if name not in needless}
    return replace(plan, steps=steps, default_processes=defaults)


def _named_in(processes: Mapping[str, str], step: Step) -> bool:
    return bool(step.brings) and step.brings in re.split(r"[\s/;&|]+", processes.get(step.serves, ""))


def _prefer(tree: Tree, matching: list[Buildpack], processes: Mapping[str, str]) -> tuple[Buildpack, str]:
    by_name = {pack.name: pack for pack in matching}
    for runtime in ("deno", "bun"):
        if runtime in by_name:
            by_name["node"] = by_name[runtime]
    languages = [name for name in ("go", "python", "node") if name in by_name]
    if matching[0].name == "static" and "dockerfile" in by_name and not tree.exists("Staticfile"):
        page = static.detect(tree)
        said = (
            f"{page} is there, too: the Dockerfile counts (paas builds:set builder=static serves the files)"
        )
        return by_name["dockerfile"], said
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
    ], f'Both Python and Node files are there: taking {by_name[name].name} ("buildpacks" in app.json decides)'


def _starts_with_node(tree: Tree) -> bool:
    try:
        data = json.loads(tree.read("package.json"))
    except (ValueError, OSError, RecursionError):
        return False
    scripts = data.get("scripts") if isinstance(data, dict) else None
    return isinstance(scripts, dict) and "start" in scripts


def _known(wanted: str) -> Buildpack | None:
    """The buildpack of ours that a name or an address of Heroku's means."""
    name = _FOREIGN.sub("", wanted.rstrip("/").lower())
    name = re.sub(r"(?:\.git|\.tgz)?(?:#.*)?$", "", name)
    return next((pack for pack in BUILDPACKS if pack.name == _ALIASES.get(name, name)), None)


def _named(tree: Tree, wanted: Sequence[str]) -> Buildpack:
    where = foreign.lists(tree, wanted)
    if len(wanted) > 1:
        raise BuildRefused(
            f"{where} asks for {len(wanted)} buildpacks; one of the platform's builds an app, or several of others.",
            "Keep the one that serves it, or name only folders, addresses and images of other buildpacks.",
        )
    if (pack := _known(wanted[0])) is not None:
        return pack
    known = ", ".join(pack.name for pack in BUILDPACKS)
    raise BuildRefused(
        f"{where} asks for the buildpack {quoted(wanted[0])}; there are {known}.",
        "One of others is a folder or an archive in the repository, an address, or docker://IMAGE; there is no list of names.",
    )
