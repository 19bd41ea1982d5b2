"""Python apps: dependencies from requirements.txt, uv.lock or pyproject.toml in a virtual environment at
/app/.venv, installed by uv; Django's static files collected. Pure: plans, never executes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from buildpacks.plan import BuildRefused, Plan, Step, Tree, read_text
from buildpacks.pyfailures import DJANGO_HINTS, FAILURE_HINTS
from buildpacks.pylocks import RELOCK, read_lock
from buildpacks.pyversion import check_requires_python, python_version
from buildpacks.pyweb import WebCommand, web_command
from buildpacks.requirements import normalised, read_requirements

RECIPE = "python-1"
LOOKS_FOR = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pyproject.toml")
_LOCKS = ("uv.lock", *RELOCK)
_OTHER_FILES = ("Pipfile", "setup.py")
_HOOK = "bin/post_compile"
_LOCKED = ".paas-requirements.txt"

BUILD_ENV = {
    "VIRTUAL_ENV": "/app/.venv",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_LINK_MODE": "copy",
    "UV_NO_PROGRESS": "1",
    "UV_CACHE_DIR": "/cache/uv",
    "SOURCE_DATE_EPOCH": "315532800",
    "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
    "PYTHONUNBUFFERED": "1",
}
RUN_ENV = {
    "VIRTUAL_ENV": "/app/.venv",
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": "/app",
    "LANG": "C.UTF-8",
    "FORWARDED_ALLOW_IPS": "*",
}
_VENV = "uv venv --quiet --python /usr/bin/python3 /app/.venv\n"
_INSTALL = "uv pip install --python /app/.venv --compile-bytecode"


@dataclass(frozen=True)
class _Dependencies:
    """How one package file is installed, and which names it brings."""

    file: str
    names: frozenset[str]
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def detect(tree: Tree) -> str | None:
    """The file that makes this a Python app; also files that cannot be built, so that `plan` can say why."""
    for path in (*LOOKS_FOR, *_OTHER_FILES, ".python-version", "runtime.txt", "manage.py"):
        if tree.exists(path) and not (path == "runtime.txt" and tree.exists("package.json")):
            return path
    return None


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused: no or contradicting package files, a Python the stack has not, unreadable files."""
    if any(name.startswith(".venv/") for name in tree.names()):
        raise BuildRefused(
            "The commit contains .venv/, which would cover what is installed here.",
            "git rm -r --cached .venv && echo .venv/ >> .gitignore",
        )
    note, warnings = python_version(tree)
    dependencies = _dependencies(tree)
    steps = list(dependencies.steps)
    if tree.exists("manage.py") and "django" in dependencies.names:
        steps.append(_collectstatic(tuple(step.name for step in steps)))
    web = web_command(tree, dependencies.names)
    steps.extend(_server(web) if web else ())
    if tree.exists(_HOOK):
        steps.append(_post_compile(tuple(step.name for step in steps)))
    return Plan(
        language="Python",
        detected=dependencies.file,
        notes=(note, *dependencies.notes),
        warnings=(*warnings, *dependencies.warnings),
        steps=tuple(steps),
        env={**RUN_ENV, **({"PYTHONPATH": f"/app:{web.path}"} if web and web.path else {})},
        path=("/app/.venv/bin",),
        default_processes={"web": web.command} if web else {},
    )


def _dependencies(tree: Tree) -> _Dependencies:
    there = [path for path in ("requirements.txt", *_LOCKS) if tree.exists(path)]
    if len(there) > 1:
        raise BuildRefused(
            f"{there[0]} and {there[1]} both say what to install.",
            f"Keep one of them: git rm {there[0]}, or git rm {there[1]}",
        )
    if there == ["requirements.txt"]:
        return _from_requirements(tree)
    if there == ["uv.lock"]:
        return _from_lock(tree)
    if there:
        return _from_other_lock(tree, there[0])
    if tree.exists("pyproject.toml"):
        return _from_pyproject(tree)
    if tree.exists("Pipfile"):
        raise BuildRefused(
            "Pipfile alone cannot be installed here.", "Run pipenv lock and commit Pipfile.lock."
        )
    if tree.exists("setup.py"):
        step = _install_step(f"{_INSTALL} .\n", _with_settings(tree), source=True)
        return _Dependencies("setup.py", frozenset(), (step,))
    raise BuildRefused(
        f"This looks like a Python app ({detect(tree)}), but no file says what to install.",
        "Add a requirements.txt (an empty one will do) or a pyproject.toml.",
    )


def _from_other_lock(tree: Tree, path: str) -> _Dependencies:
    """The lock of Poetry, Pipenv or PDM, as a requirements file that the plan writes."""
    locked = read_lock(tree, path)
    step = _install_step(
        f"{_INSTALL} --no-deps --require-hashes -r {_LOCKED}\n",
        _with_settings(tree),
        written=((_LOCKED, locked.text),),
        config=locked.variables,
        shared=not locked.variables,
    )
    data = locked.declared
    project, poetry = _table(data.get("project")), _table(_table(data.get("tool")).get("poetry"))
    required = locked.python
    if required:
        check_requires_python(required, "Pipfile" if path == "Pipfile.lock" else "pyproject.toml")
    own = path != "Pipfile.lock" and _is_package(tree, data, {**poetry, **project})
    steps = (step, *_own_package(data, {**poetry, **project})) if own else (step,)
    return _Dependencies(path, locked.names, steps, locked.warnings)


def _is_package(tree: Tree, data: dict[str, Any], project: dict[str, Any]) -> bool:
    """Whether the project itself is to be installed: declared, and its code is where its name says."""
    tool = _table(data.get("tool"))
    if _table(tool.get("poetry")).get("package-mode") is False:
        return False
    if _table(tool.get("pdm")).get("distribution") is False:
        return False
    name = normalised(str(project.get("name", ""))).replace("-", "_")
    places = (f"{name}/__init__.py", f"src/{name}/__init__.py", f"{name}.py")
    return bool(project.get("packages")) or any(tree.exists(place) for place in places)


def _install_step(script: str, inputs: Iterable[str], **more: Any) -> Step:
    return _venv_step(
        "dependencies",
        "Installing dependencies with uv",
        _VENV + script,
        inputs=tuple(inputs),
        reused="Restoring cache: dependencies unchanged, layer reused",
        **more,
    )


def _venv_step(name: str, title: str, script: str, **more: Any) -> Step:
    """A step that installs with uv into the app's virtual environment."""
    return Step(
        name=name,
        title=title,
        script=script,
        outputs=("/app/.venv",),
        key=(RECIPE,),
        env=dict(BUILD_ENV),
        tools=("uv",),
        failure_hints=FAILURE_HINTS,
        **more,
    )


def _with_settings(tree: Tree, *inputs: str) -> tuple[str, ...]:
    """The inputs and uv's own settings file, when there is one."""
    return (*inputs, "uv.toml") if tree.exists("uv.toml") else inputs


def _from_requirements(tree: Tree) -> _Dependencies:
    warnings: tuple[str, ...] = ()
    found = read_requirements(tree)
    hashes = " --require-hashes" if found.hashed else ""
    secret = any("${" in read_text(tree, path) for path in found.files)
    step = _install_step(
        f"{_INSTALL}{hashes} -r requirements.txt\n",
        _with_settings(tree, *found.files),
        source=bool(found.local),
        config=secret,
        shared=found.hashed and not found.local and not secret,
    )
    if found.unpinned:
        shown = ", ".join(found.unpinned[:4]) + (" …" if len(found.unpinned) > 4 else "")
        warnings += (f"not pinned with ==: {shown}; the versions of the first build are kept",)
    return _Dependencies("requirements.txt", frozenset(found.names), (step,), warnings)


def _from_pyproject(tree: Tree) -> _Dependencies:
    project, data = _project(tree)
    names = {_name_of(item) for item in project.get("dependencies", [])}
    step = _install_step(f"{_INSTALL} -r pyproject.toml\n", _with_settings(tree, "pyproject.toml"))
    warnings = () if not names else ("pyproject.toml without uv.lock: run uv lock to pin the versions",)
    return _Dependencies("pyproject.toml", frozenset(names), (step, *_own_package(data, project)), warnings)


def _from_lock(tree: Tree) -> _Dependencies:
    if not tree.exists("pyproject.toml"):
        raise BuildRefused("uv.lock is there without pyproject.toml.", "Commit pyproject.toml, too.")
    project, data = _project(tree)
    lock = _toml(tree, "uv.lock")
    packages = [item for item in lock.get("package", []) if isinstance(item, dict)]
    _check_lock(project, packages)
    local = any(
        set(_table(item.get("source"))) & {"path", "directory"}
        or (_table(item.get("source")).get("editable") not in (None, "."))
        for item in packages
    )
    step = _install_step(
        "uv export --quiet --frozen --no-default-groups --no-emit-project -o /tmp/requirements.txt\n"
        f"{_INSTALL} --no-deps{'' if local else ' --require-hashes'} -r /tmp/requirements.txt\n",
        _with_settings(tree, "pyproject.toml", "uv.lock"),
        source=local,
        shared=not local,
    )
    names = frozenset(normalised(str(item.get("name", ""))) for item in packages)
    return _Dependencies("uv.lock", names, (step, *_own_package(data, project)))


def _own_package(data: dict[str, Any], project: dict[str, Any]) -> tuple[Step, ...]:
    """The project itself, installed after its source is there, when it declares how it is built."""
    uv = _table(_table(data.get("tool")).get("uv"))
    if "build-system" not in data or not project.get("name") or uv.get("package") is False:
        return ()
    step = _venv_step(
        "project",
        f"Installing the project {str(project['name'])[:60]}",
        f"{_INSTALL} --no-deps .\n",
        source=True,
        after_source=True,
        onto=("dependencies",),
    )
    return (step,)


def _project(tree: Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    data = _toml(tree, "pyproject.toml")
    project = _table(data.get("project"))
    if not project:
        raise BuildRefused(
            "pyproject.toml has no [project] table, and there is no requirements.txt.",
            "Add a requirements.txt, or [project] with its dependencies.",
        )
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise BuildRefused("pyproject.toml: project.dependencies is not a list of texts.")
    required = project.get("requires-python")
    if isinstance(required, str):
        check_requires_python(required, "pyproject.toml")
    return project, data


def _check_lock(project: dict[str, Any], packages: list[dict[str, Any]]) -> None:
    """Refuse a lock whose own record of the project's requirements is not what pyproject.toml says."""
    own = normalised(str(project.get("name", "")))
    for item in packages:
        if normalised(str(item.get("name", ""))) == own and "registry" not in _table(item.get("source")):
            recorded = _table(item.get("metadata")).get("requires-dist", [])
            extras = {"extra ==", "extra=="}
            locked = {
                normalised(str(entry.get("name", "")))
                for entry in recorded
                if isinstance(entry, dict)
                and not any(mark in str(entry.get("marker", "")) for mark in extras)
            }
            wanted = {_name_of(text) for text in project.get("dependencies", [])}
            if locked != wanted:
                different = ", ".join(sorted(locked ^ wanted)[:5])
                raise BuildRefused(
                    f"uv.lock does not fit pyproject.toml (different: {different}).",
                    "Run uv lock and commit the result.",
                )


def _name_of(requirement: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return normalised(match[1]) if match else ""


def _toml(tree: Tree, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(tree, path, 16 << 20))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BuildRefused(f"{path}: {error or 'is nested too deeply'}.") from None


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _collectstatic(onto: tuple[str, ...]) -> Step:
    script = """if [ -n "${DISABLE_COLLECTSTATIC:-}" ] && [ "$DISABLE_COLLECTSTATIC" != 0 ]; then
  echo "DISABLE_COLLECTSTATIC is set: nothing collected"; exit 0
fi
if probe=$(python manage.py help collectstatic 2>&1); then
  python manage.py collectstatic --noinput --traceback
elif [[ $probe == *"Unknown command"* ]]; then
  echo "django.contrib.staticfiles is not installed: nothing to collect"
else
  printf '%s\\n' "$probe"; exit 1
fi
"""
    return Step(
        name="collectstatic",
        title="Collecting static files: python manage.py collectstatic --noinput",
        script=script,
        outputs=("/app",),
        key=(RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env={**RUN_ENV, "PYTHONDONTWRITEBYTECODE": "1"},
        failure_hints=DJANGO_HINTS,
        onto=onto,
        reused="Static files: sources and config unchanged, layer reused",
    )


def _server(web: WebCommand) -> tuple[Step, ...]:
    """The server that the app does not name, in a layer of its own; a Procfile leaves it out."""
    if not web.server:
        return ()
    step = _venv_step(
        "server",
        f"Adding {web.server}, which the dependencies do not name, to serve {web.target}",
        f"{_INSTALL} {web.server}\n",
        onto=("dependencies",),
        serves="web",
        reused=f"Restoring cache: {web.server}, which the dependencies do not name, serves {web.target}",
    )
    return (step,)


def _post_compile(onto: tuple[str, ...]) -> Step:
    """The app's own hook, over everything that was installed and collected."""
    return Step(
        name="post_compile",
        title=f"Running {_HOOK}",
        script=f"if [ -x {_HOOK} ]; then {_HOOK}; else bash -e {_HOOK}; fi\n",
        outputs=("/app",),
        key=(RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env={**RUN_ENV, "PYTHONDONTWRITEBYTECODE": "1"},
        onto=onto,
        reused=f"{_HOOK}: sources and config unchanged, layer reused",
    )
