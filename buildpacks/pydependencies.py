"""What installs a Python app's dependencies: requirements.txt, a lock, pyproject.toml or setup.py, as steps. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from buildpacks.plan import BuildRefused, Step, Tree, read_text
from buildpacks.pybare import bare
from buildpacks.pylocks import read_lock
from buildpacks.pysteps import INSTALL, install_step, venv_step
from buildpacks.requirements import normalised, read_requirements
from buildpacks.toml import toml_of
from buildpacks.uvlocks import check_lock

PACKAGE_FILES = ("Pipfile.lock", "requirements.txt", "poetry.lock", "uv.lock", "pdm.lock")
"""In the order in which they count, which is Heroku's."""
_LOCKED = ".paas-requirements.txt"


@dataclass(frozen=True)
class Dependencies:
    """How one package file is installed, and which names it brings."""

    file: str
    names: frozenset[str]
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_dependencies(tree: Tree) -> Dependencies:
    """How what the app needs is installed. Raises BuildRefused when no file says it, or one cannot be read."""
    there = [path for path in PACKAGE_FILES if tree.exists(path)]
    found = _from_file(tree, there[0]) if there else _from_declaration(tree)
    if len(there) < 2:
        return found
    warning = f"{there[0]} says what to install; {' and '.join(there[1:])} beside it is not read"
    return replace(found, warnings=(warning, *found.warnings))


def _from_file(tree: Tree, path: str) -> Dependencies:
    if path == "requirements.txt":
        return _from_requirements(tree)
    return _from_lock(tree) if path == "uv.lock" else _from_other_lock(tree, path)


def _from_declaration(tree: Tree) -> Dependencies:
    """Without a file that pins versions: what the project declares."""
    if tree.exists("pyproject.toml"):
        data = _toml(tree, "pyproject.toml")
        others = tree.exists("setup.py") or tree.exists("Pipfile") or is_package_cfg(tree)
        if "project" in data or not others:
            return _from_pyproject(tree)
    if tree.exists("Pipfile"):
        raise BuildRefused(
            "Pipfile alone cannot be installed here.", "Run pipenv lock and commit Pipfile.lock."
        )
    if tree.exists("setup.py"):
        return _from_source(tree, "setup.py")
    if is_package_cfg(tree):
        return _from_source(
            tree, "setup.cfg", written=(("setup.py", "import setuptools\n\nsetuptools.setup()\n"),)
        )
    if not tree.exists("manage.py") and (found := bare(tree)):
        script = f"{INSTALL} -r {_LOCKED}\n" if found[1] else ""
        return Dependencies(
            found[0],
            frozenset(re.findall(r"[a-z-]+", found[1])),
            (install_step(script, (), written=((_LOCKED, found[1]),)),),
            notes=(f"No file says what to install: {found[1].strip() or 'nothing'} is needed",),
        )
    raise BuildRefused(
        "This looks like a Python app, but no file says what to install.",
        "Add a requirements.txt (an empty one will do) or a pyproject.toml.",
    )


def is_package_cfg(tree: Tree) -> bool:
    """Whether setup.cfg declares a package, and not only the settings of tools."""
    return tree.exists("setup.cfg") and "\n[metadata]" in "\n" + read_text(tree, "setup.cfg")


def _from_source(tree: Tree, path: str, **more: Any) -> Dependencies:
    step = install_step(f"{INSTALL} .\n", _with_settings(tree), source=True, **more)
    return Dependencies(path, frozenset(), (step,))


def _from_other_lock(tree: Tree, path: str) -> Dependencies:
    """The lock of Poetry, Pipenv or PDM, as a requirements file that the plan writes."""
    locked = read_lock(tree, path)
    step = install_step(
        f"{INSTALL} --no-deps --require-hashes -r {_LOCKED}\n",
        _with_settings(tree),
        written=((_LOCKED, locked.text),),
        config=locked.variables,
        shared=not locked.variables,
    )
    data = locked.declared
    project, poetry = _table(data.get("project")), _table(_table(data.get("tool")).get("poetry"))
    own = path != "Pipfile.lock" and _is_package(tree, data, {**poetry, **project})
    steps = (step, *_own_package(data, {**poetry, **project})) if own else (step,)
    return Dependencies(path, locked.names, steps, locked.warnings)


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


def _with_settings(tree: Tree, *inputs: str) -> tuple[str, ...]:
    """The inputs and uv's own settings file, when there is one."""
    return (*inputs, "uv.toml") if tree.exists("uv.toml") else inputs


def _from_requirements(tree: Tree) -> Dependencies:
    warnings: tuple[str, ...] = ()
    found = read_requirements(tree)
    hashes = " --require-hashes" if found.hashed else ""
    secret = any("${" in read_text(tree, path) for path in found.files)
    step = install_step(
        f"{INSTALL}{hashes} -r requirements.txt\n",
        _with_settings(tree, *found.files),
        source=bool(found.local),
        config=secret,
        shared=found.hashed and not found.local and not secret,
    )
    if found.unpinned:
        shown = ", ".join(found.unpinned[:4]) + (" …" if len(found.unpinned) > 4 else "")
        warnings += (f"not pinned with ==: {shown}; the versions of the first build are kept",)
    return Dependencies("requirements.txt", frozenset(found.names), (step,), warnings)


def _from_pyproject(tree: Tree) -> Dependencies:
    project, data = _project(tree)
    if "dependencies" in (project.get("dynamic") or []):
        return _from_source(tree, "pyproject.toml")  # its build backend says what they are
    names = {_name_of(item) for item in project.get("dependencies", [])}
    step = install_step(f"{INSTALL} -r pyproject.toml\n", _with_settings(tree, "pyproject.toml"))
    tool = _locked_by(data)
    warnings = (f"pyproject.toml without {tool}.lock: run {tool} lock to pin the versions",) if names else ()
    return Dependencies("pyproject.toml", frozenset(names), (step, *_own_package(data, project)), warnings)


def _from_lock(tree: Tree) -> Dependencies:
    if not tree.exists("pyproject.toml"):
        raise BuildRefused("uv.lock is there without pyproject.toml.", "Commit pyproject.toml, too.")
    workspace = "project" not in (data := _toml(tree, "pyproject.toml"))
    project, data = ({}, data) if workspace else _project(tree)
    lock = _toml(tree, "uv.lock")
    packages = [item for item in lock.get("package", []) if isinstance(item, dict)]
    check_lock(data, lock)
    local = any(
        set(_table(item.get("source"))) & {"path", "directory"}
        or (_table(item.get("source")).get("editable") not in (None, "."))
        for item in packages
    )
    what = "--all-packages" if workspace else "--no-emit-project"
    step = install_step(
        f"uv export --quiet --frozen --no-default-groups {what} -o /tmp/requirements.txt\n"
        f"{INSTALL} --no-deps{'' if local else ' --require-hashes'} -r /tmp/requirements.txt\n",
        _with_settings(tree, "pyproject.toml", "uv.lock"),
        source=local,
        shared=not local,
    )
    names = frozenset(normalised(str(item.get("name", ""))) for item in packages)
    return Dependencies("uv.lock", names, (step, *_own_package(data, project)))


def _own_package(data: dict[str, Any], project: dict[str, Any]) -> tuple[Step, ...]:
    """The project itself, installed after its source is there, when it declares how it is built."""
    uv = _table(_table(data.get("tool")).get("uv"))
    if "build-system" not in data or not project.get("name") or uv.get("package") is False:
        return ()
    step = venv_step(
        "project",
        f"Installing the project {str(project['name'])[:60]}",
        f"{INSTALL} --no-deps .\n",
        source=True,
        after_source=True,
        onto=("dependencies",),
    )
    return (step,)


def _project(tree: Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    data = _toml(tree, "pyproject.toml")
    project = _table(data.get("project"))
    if not project and (tool := _locked_by(data)) != "uv":
        raise BuildRefused(
            f"pyproject.toml is {tool}'s, without the versions that {tool} chose: there is no {tool}.lock.",
            f"Run {tool} lock and commit {tool}.lock.",
        )
    if not project:
        raise BuildRefused(
            "pyproject.toml has no [project] table, and there is no requirements.txt.",
            "Add a requirements.txt, or [project] with its dependencies.",
        )
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise BuildRefused("pyproject.toml: project.dependencies is not a list of texts.")
    return project, data


def _locked_by(data: dict[str, Any]) -> str:
    """The tool whose lock belongs to this pyproject.toml."""
    tools = _table(data.get("tool"))
    backend = str(_table(data.get("build-system")).get("build-backend", ""))
    return next((name for name in ("poetry", "pdm") if name in tools or backend.startswith(name)), "uv")


def _name_of(requirement: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return normalised(match[1]) if match else ""


def _toml(tree: Tree, path: str) -> dict[str, Any]:
    try:
        return toml_of(read_text(tree, path, 8 << 20))
    except ValueError as error:
        raise BuildRefused(f"{path}: {error}.") from None


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
