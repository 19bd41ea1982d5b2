"""Node apps: package.json, npm ci, the build script. Pure: plans, never executes.

The image gets production dependencies only; a build script runs over a second, throw-away layer with all of them.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import Any

from buildpacks import noderuntime
from buildpacks.nodefailures import BUILD_HINTS, FAILURE_HINTS
from buildpacks.nodeweb import choose_web
from buildpacks.plan import BuildRefused, Plan, Step, Tree, read_text

RECIPE = "node-1"
LOOKS_FOR = ("package.json",)
_OTHER_LOCKS = {"yarn.lock": "yarn", "pnpm-lock.yaml": "pnpm", "bun.lock": "bun", "bun.lockb": "bun"}
_INSTALL_SCRIPTS = ("preinstall", "install", "postinstall", "prepare")
_BUILD_SCRIPTS = ("heroku-prebuild", *_INSTALL_SCRIPTS)

BUILD_ENV = {
    "npm_config_cache": "/cache/npm",
    "npm_config_nodedir": "/app/.node",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "npm_config_loglevel": "warn",
    "npm_config_progress": "false",
    "PATH": "/app/.node/bin:/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin",
}
RUN_ENV = {"NODE_ENV": "production", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class _Package:
    """What package.json and the lock say that matters here."""

    scripts: dict[str, str]
    engines: object
    dev: bool
    local: bool
    lock: str | None
    pinned: bool
    compiles: bool
    main: str


def detect(tree: Tree) -> str | None:
    return "package.json" if tree.exists("package.json") else None


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused: an unreadable package.json, another tool's lock alone, a Node that cannot be had."""
    package, warnings = _read(tree)
    version, note = noderuntime.choose_release(tree, package.engines)
    steps = [noderuntime.runtime_step(version)]
    if package.compiles:
        steps.append(noderuntime.headers_step(version))
    tools = tuple(step.name for step in steps)
    steps.append(_install(tree, package, tools, dev=False))
    builds = [name for name in (*_BUILD_SCRIPTS, _build_script(package)) if name in package.scripts]
    if builds:
        base = (*tools, "dependencies")
        if package.dev:
            steps.append(_install(tree, package, tools, dev=True))
            base = (*tools, "all-dependencies")
        steps.append(_build(builds, base))
    onto = ("node", "dependencies", *(("build",) if builds else ()))
    web = choose_web(tree, package.scripts, package.main, onto, run="node", npm="npm")
    return Plan(
        language="Node",
        detected=package.lock or "package.json",
        notes=(note, *web.notes),
        warnings=warnings,
        steps=(*steps, *web.steps),
        env=dict(RUN_ENV),
        path=("/app/.node/bin", "/app/node_modules/.bin"),
        default_processes=web.processes,
    )


def _read(tree: Tree) -> tuple[_Package, tuple[str, ...]]:
    data = _json(tree, "package.json")
    scripts = _texts(data.get("scripts"), "scripts")
    warnings: list[str] = []
    lock = next((name for name in ("npm-shrinkwrap.json", "package-lock.json") if tree.exists(name)), None)
    for other, tool in _OTHER_LOCKS.items():
        if not tree.exists(other):
            continue
        if lock is None:
            raise BuildRefused(
                f"{other} is a lock of {tool}; npm is what installs here.",
                "Run npm install --package-lock-only and commit package-lock.json.",
            )
        warnings.append(f"{other} is not read, because {lock} is there")
    wanted = {**_texts(data.get("dependencies"), "dependencies"), **_dev(data)}
    local = "workspaces" in data or any(
        spec.startswith(("file:", "link:", ".", "/")) for spec in wanted.values()
    )
    _check_folders(tree, wanted)
    if any(name.startswith("node_modules/") for name in tree.names()):
        warnings.append(
            "node_modules/ is in the commit and covers what npm installs: git rm -r --cached node_modules"
        )
    if lock is None and wanted:
        warnings.append("no package-lock.json: commit it, so that each build installs the same versions")
    pinned, compiles = _lock_facts(tree, lock) if lock else (False, bool(wanted))
    return _Package(
        scripts, data.get("engines"), bool(_dev(data)), local, lock, pinned, compiles, _main(data)
    ), tuple(warnings)


def _check_folders(tree: Tree, wanted: dict[str, str]) -> None:
    """npm links a missing folder without a warning, and the app fails when it starts."""
    for name, spec in wanted.items():
        path = posixpath.normpath(spec.removeprefix("file:").removeprefix("link:"))
        if spec.startswith(("file:", "link:")) and not (
            tree.exists(path) or path == "." or any(file.startswith(f"{path}/") for file in tree.names())
        ):
            raise BuildRefused(
                f"package.json: {name} is at {spec}, which is not in the repository.",
                "Commit that folder, or take the line out.",
            )


def _dev(data: dict[str, Any]) -> dict[str, str]:
    return _texts(data.get("devDependencies"), "devDependencies")


def _lock_facts(tree: Tree, lock: str) -> tuple[bool, bool]:
    """Whether every package is pinned by a digest, and whether one of them runs an install script."""
    packages = _json(tree, lock).get("packages")
    if not isinstance(packages, dict):
        return False, True
    entries = [entry for path, entry in packages.items() if path and isinstance(entry, dict)]
    pinned = all("integrity" in entry or entry.get("inBundle") for entry in entries)
    return pinned, any(entry.get("hasInstallScript") for entry in entries)


def _install(tree: Tree, package: _Package, onto: tuple[str, ...], *, dev: bool) -> Step:
    """The packages, for the image or with those for development. Their own install scripts run here, the app's
    wait for its source."""
    verb = "ci" if package.lock else "install"
    command = f"npm {verb}{'' if dev else ' --omit=dev'}{'' if package.lock else ' --no-package-lock'}"
    if any(name in package.scripts for name in _INSTALL_SCRIPTS):
        command += " --ignore-scripts" + ("\nnpm rebuild --foreground-scripts" if package.compiles else "")
    settings = read_text(tree, ".npmrc", 65536) if tree.exists(".npmrc") else ""
    secret = "${" in settings
    inputs = ("package.json", package.lock, ".npmrc" if settings else None)
    title = "Installing development dependencies for the build script"
    return Step(
        name="all-dependencies" if dev else "dependencies",
        title=title if dev else f"Installing dependencies with npm {verb}",
        script=f"{command}\nmkdir -p node_modules\nrm -rf node_modules/.cache node_modules/.package-lock.json\n",
        outputs=("/app",) if package.local else ("/app/node_modules",),
        key=(RECIPE,),
        inputs=tuple(name for name in inputs if name),
        source=package.local,
        config=secret,
        env=dict(BUILD_ENV),
        failure_hints=FAILURE_HINTS,
        onto=onto,
        shared=package.pinned and not package.compiles and not package.local and not secret,
        in_image=not dev,
        reused="" if dev else "Restoring cache: dependencies unchanged, layer reused",
    )


def _build_script(package: _Package) -> str:
    return "heroku-postbuild" if "heroku-postbuild" in package.scripts else "build"


def _build(scripts: list[str], onto: tuple[str, ...]) -> Step:
    lines = [f"npm run {name}" for name in scripts]
    return Step(
        name="build",
        title=f"Running the scripts of package.json: {', '.join(scripts)}",
        script="\n".join(lines) + "\nrm -rf node_modules/.cache\n",
        outputs=("/app",),
        key=(RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env={**BUILD_ENV, "NODE_ENV": "production"},
        failure_hints=BUILD_HINTS,
        onto=onto,
        reused="Build script: sources and config unchanged, layer reused",
    )


def _json(tree: Tree, path: str) -> dict[str, Any]:
    text = read_text(tree, path, 32 << 20)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path} line {error.lineno}, column {error.colno}"
        raise BuildRefused(f"{where}: {error.msg}.", "It must be JSON, without comments.") from None
    except (RecursionError, ValueError):
        raise BuildRefused(f"{path} is not JSON that can be read.") from None
    if not isinstance(data, dict):
        raise BuildRefused(f"{path} is not a JSON object.")
    return data


def _main(data: dict[str, Any]) -> str:
    """The file that the package begins with, if it names one."""
    main = data.get("main") or data.get("module")
    safe = isinstance(main, str) and main.isprintable()
    return str(main) if safe else ""


def _texts(value: object, key: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise BuildRefused(f"package.json: {key} is not an object of texts.")
    return value
