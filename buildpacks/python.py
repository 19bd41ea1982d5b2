"""Python apps: a Python, a virtual environment at /app/.venv with the dependencies, installed by uv; Django's static
files; the app's hooks. Pure: plans, never executes."""

from __future__ import annotations

from buildpacks.plan import BuildRefused, Plan, Tree
from buildpacks.pybare import MKDOCS, bare
from buildpacks.pydependencies import is_package_cfg, read_dependencies
from buildpacks.pysteps import (
    MKDOCS_SERVED,
    POST_COMPILE,
    PRE_COMPILE,
    RUN_ENV,
    collectstatic_step,
    mkdocs_steps,
    over_pre_compile,
    post_compile_step,
    server_steps,
    with_python,
)
from buildpacks.pyversion import STACK_ONLY, Pythons, choose_python
from buildpacks.pyweb import doubt, web_command

LOOKS_FOR = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pyproject.toml")
_OTHER_FILES = ("Pipfile", "setup.py")


def detect(tree: Tree) -> str | None:
    """The file that makes this a Python app; also files that cannot be built, so that `plan` can say why."""
    for path in (*LOOKS_FOR, *_OTHER_FILES, ".python-version", "runtime.txt", "manage.py"):
        if tree.exists(path) and not (path == "runtime.txt" and tree.exists("package.json")):
            return path
    return "setup.cfg" if is_package_cfg(tree) else None


def detect_bare(tree: Tree) -> bool:
    """Whether a Python program that serves, or a MkDocs site, lies here without a file that says what to install."""
    found = bare(tree)
    return found is not None and (found[0] == MKDOCS or web_command(tree, frozenset()) is not None)


def plan(tree: Tree, pythons: Pythons = STACK_ONLY) -> Plan:
    """Raises BuildRefused: no package files, a Python that cannot be had, unreadable files."""
    if any(name.startswith((".venv/", ".python/")) for name in tree.names()):
        raise BuildRefused(
            "The commit contains .venv/ or .python/, which would cover what is installed here.",
            "git rm -r --cached --ignore-unmatch .venv .python && printf '.venv/\\n.python/\\n' >> .gitignore",
        )
    chosen = choose_python(tree, pythons)
    dependencies = read_dependencies(tree)
    steps = list(dependencies.steps)
    if tree.exists("manage.py") and "django" in dependencies.names:
        steps.append(collectstatic_step(tuple(step.name for step in steps)))
    web = web_command(tree, dependencies.names)
    docs = (
        web is None and tree.exists(MKDOCS) and any(name.startswith("mkdocs") for name in dependencies.names)
    )
    steps.extend(server_steps(web) if web else mkdocs_steps() if docs else ())
    if tree.exists(POST_COMPILE):
        steps.append(post_compile_step(tuple(step.name for step in steps)))
    if tree.exists(PRE_COMPILE):
        steps = over_pre_compile(steps)
    return Plan(
        language="Python",
        detected=dependencies.file,
        notes=(chosen.note, *dependencies.notes),
        warnings=(*chosen.warnings, *dependencies.warnings, *doubt(tree, web)),
        steps=with_python(steps, chosen),
        env={**RUN_ENV, **({"PYTHONPATH": f"/app:{web.path}"} if web and web.path else {})},
        path=("/app/.venv/bin",),
        default_processes={"web": web.command} if web else {"web": MKDOCS_SERVED} if docs else {},
        stack=chosen.python.stack,
    )
