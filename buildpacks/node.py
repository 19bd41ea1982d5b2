"""Node apps: package.json, a package manager, the build script. Pure: plans, never executes.

The image gets production dependencies only; a build script runs over a second, throw-away layer with all of them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from buildpacks import noderuntime
from buildpacks.nodefailures import BUILD_HINTS, FAILURE_HINTS
from buildpacks.nodemanagers import Manager, choose_manager
from buildpacks.nodepackage import INSTALL_SCRIPTS, Package, has_dependencies, lock_facts, read_package
from buildpacks.nodeweb import DEVELOPMENT, choose_web
from buildpacks.plan import Plan, Step, Tree, read_text

RECIPE = "node-2"
LOOKS_FOR = ("package.json",)
_SETTINGS = (".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs", "bunfig.toml")
"""What managers read besides package files and locks."""
_CACHES = (
    "node_modules/.cache",
    "node_modules/.vite",
    "node_modules/.astro",
    ".next/cache",
    ".parcel-cache",
    ".angular/cache",
)
"""Where builders keep what makes their next run faster; `cacheDirectories` of package.json adds to them."""
MAX_CACHE_MIB = 512

BUILD_ENV = {
    "npm_config_cache": "/cache/npm",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "npm_config_loglevel": "warn",
    "npm_config_progress": "false",
    "PATH": "/app/.node/bin:/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin",
}
_QUIET = {
    "NEXT_TELEMETRY_DISABLED": "1",
    "NUXT_TELEMETRY_DISABLED": "1",
    "ASTRO_TELEMETRY_DISABLED": "1",
    "NG_CLI_ANALYTICS": "false",
}
"""Builders report to nobody from here."""
_OPEN = {"fastify-cli": ("FASTIFY_ADDRESS", "0.0.0.0"), "@angular/ssr": ("NG_ALLOWED_HOSTS", "*")}
"""What lets a server answer the router, which passes on the hosts of the app alone."""
RUN_ENV = {"NODE_ENV": "production", "LANG": "C.UTF-8"}

_WITHOUT_OWN_SCRIPTS = """python3 - {files} <<'PYTHON'
import json, sys
for path in sys.argv[1:]:
    package = json.load(open(path, encoding="utf-8-sig"))
    for name in {names}:
        package.get("scripts", {{}}).pop(name, None)
    json.dump(package, open(path, "w"))
PYTHON
"""
_RESTORE = """for folder in {folders}; do
  kept=/cache/build/${{folder//\\//_}}
  [ -e "$folder" ] || [ ! -d "$kept" ] || {{ mkdir -p "$(dirname "$folder")"; cp -a "$kept" "$folder"; }}
done
"""
_SAVE = """for folder in {folders}; do
  kept=/cache/build/${{folder//\\//_}}
  [ -d "$folder" ] || continue
  rm -rf "$kept"
  if [ "$(du -sm "$folder" | cut -f1)" -le {most} ]; then mkdir -p /cache/build; cp -a "$folder" "$kept" || rm -rf "$kept"; fi
  rm -rf "$folder"
done
"""


@dataclass(frozen=True)
class Toolchain:
    """What runs the app (`run FILE`), its scripts (`scripts NAME`) and its installs."""

    language: str
    run: str
    scripts: str
    manager: Manager
    runtime: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def detect(tree: Tree) -> str | None:
    return "package.json" if tree.exists("package.json") else None


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused: an unreadable package.json, a Node that cannot be had."""
    package = read_package(tree)
    version, note, warning = noderuntime.choose_release(tree, package.data.get("engines"))
    manager, warnings = choose_manager(tree, package.data, engine_differs=bool(warning))
    tools = (noderuntime.runtime_step(version), *manager.steps)
    if lock_facts(tree, manager.lock, package)[1]:
        tools = (*tools, noderuntime.headers_step(version))
    said = (warning, *warnings) if warning else warnings
    note = note if manager.name == "npm" else f"{note}, {manager.name} {manager.version}"
    env = RUN_ENV | {name: value for tool, (name, value) in _OPEN.items() if tool in package.wanted}
    return plan_with(tree, package, Toolchain("Node", "node", "npm run", manager, tools, (note,), said, env))


def plan_with(tree: Tree, package: Package, tools: Toolchain) -> Plan:
    """The plan of a package.json for these tools."""
    manager = tools.manager
    names = tuple(step.name for step in tools.runtime)
    steps = [*tools.runtime, _install(tree, package, manager, names, dev=False)]
    kept = _starts_with_dev(package)
    if kept:
        steps[-1] = replace(steps[-1], script=_install(tree, package, manager, names, dev=True).script)
    builds = _build_lines(package, tools.scripts)
    if builds:
        base = (*names, "dependencies")
        if package.dev and not kept:
            steps.append(_install(tree, package, manager, names, dev=True))
            base = (*names, "all-dependencies")
        steps.append(_build(package, manager, builds, base))
    onto = ("dependencies", *(("build",) if builds else ()))
    web = choose_web(tree, package.scripts, package.main, onto, run=tools.run, scripts_run=tools.scripts)
    return Plan(
        language=tools.language,
        detected=manager.lock or "package.json",
        notes=(*tools.notes, *web.notes),
        warnings=(*tools.warnings, *_warnings(tree, package, manager), *_kept(kept)),
        steps=(*steps, *web.steps),
        env=dict(tools.env),
        path=("/app/.node/bin", "/app/node_modules/.bin"),
        default_processes=web.processes,
    )


def _starts_with_dev(package: Package) -> str:
    """The package for development that the start script runs (`tsx src/index.ts`); empty when it runs no such one."""
    words = package.scripts.get("start", "").split()
    name = next((word for word in words if word not in ("npx", "exec") and "=" not in word), "")
    later, now = package.data.get("devDependencies"), package.data.get("dependencies")
    there = isinstance(later, dict) and name in later and not (isinstance(now, dict) and name in now)
    return name if there and not DEVELOPMENT.match(" ".join(words)) else ""


def _kept(name: str) -> tuple[str, ...]:
    return (
        (
            f"the start script runs {name}, a development dependency: all of these are in the image; npm install"
            f" --save-prod {name} leaves out the others",
        )
        if name
        else ()
    )


def _warnings(tree: Tree, package: Package, manager: Manager) -> list[str]:
    found = []
    if any(name.startswith("node_modules/") for name in tree.names()):
        found.append(
            "node_modules/ is in the commit and covers what is installed: git rm -r --cached node_modules"
        )
    if manager.lock is None and has_dependencies(package):
        lock = {"yarn": "yarn.lock", "pnpm": "pnpm-lock.yaml", "bun": "bun.lock"}.get(
            manager.name, "package-lock.json"
        )
        found.append(f"no {lock}: commit it, so that each build installs the same versions")
    return found


def _install(tree: Tree, package: Package, manager: Manager, onto: tuple[str, ...], *, dev: bool) -> Step:
    """The packages, for the image or with those for development. Their own install scripts run here, the app's
    wait for its source."""
    pinned, compiles = lock_facts(tree, manager.lock, package)
    settings = [name for name in _SETTINGS if tree.exists(name)]
    secret = any("${" in read_text(tree, name, 65536) for name in settings)
    whole = package.local or bool(package.members)
    inputs = ("package.json", *((manager.lock,) if manager.lock else ()), *settings, *package.members)
    title = "Installing development dependencies for the build script"
    command = (manager.frozen if manager.lock else manager.loose).partition(" --")[0]
    return Step(
        name="all-dependencies" if dev else "dependencies",
        title=title if dev else f"Installing dependencies with {command}",
        script=_use_headers(onto) + _without_own_scripts(package) + manager.script(dev=dev) + _tidy(manager),
        outputs=("/app",) if whole else ("/app/node_modules",),
        key=(RECIPE, manager.version),
        inputs=() if package.local else tuple(dict.fromkeys(inputs)),
        source=package.local,
        config=secret,
        env={**BUILD_ENV, **manager.env},
        failure_hints=FAILURE_HINTS,
        notices=manager.notices,
        onto=onto,
        shared=pinned and not compiles and not whole and not secret,
        in_image=not dev,
        reused="" if dev else "Restoring cache: dependencies unchanged, layer reused",
    )


def _use_headers(onto: tuple[str, ...]) -> str:
    return noderuntime.USE_HEADERS if "node-headers" in onto else ""


def _without_own_scripts(package: Package) -> str:
    folders = dict.fromkeys(folder for folder, _ in package.own_scripts if not (package.local and folder))
    if not folders:
        return ""
    files = " ".join(shlex.quote(f"{folder}/package.json".lstrip("/")) for folder in folders)
    return _WITHOUT_OWN_SCRIPTS.format(files=files, names=INSTALL_SCRIPTS)


def _tidy(manager: Manager) -> str:
    """Leave nothing of the install that changes from one run to the next."""
    files = [
        ".cache",
        ".package-lock.json",
        ".yarn-integrity",
        ".modules.yaml",
        ".pnpm-workspace-state*.json",
    ]
    kept = (".yarn-state.yml",) if manager.name == "yarn" else ()
    gone = " ".join(f"node_modules/{name}" for name in files if name not in kept)
    return f"mkdir -p node_modules\nrm -rf {gone}\n"


def _build_lines(package: Package, runner: str) -> list[tuple[str, str]]:
    """Pairs (name shown, command) of the build scripts to run: those of workspace members, then the root's."""
    script = "heroku-postbuild" if "heroku-postbuild" in package.scripts else "build"
    lines = [(name, f"{runner} {name}") for name in ("heroku-prebuild",) if name in package.scripts]
    for folder, name in package.own_scripts:
        if not folder:
            lines.append((name, f"{runner} {name}"))
        elif not package.local:
            lines.append((f"{name} of {folder}", f"(cd {shlex.quote(folder)} && {runner} {name})"))
    return [*lines, (script, f"{runner} {script}")] if script in package.scripts else lines


def _build(package: Package, manager: Manager, builds: list[tuple[str, str]], onto: tuple[str, ...]) -> Step:
    named = package.data.get("cacheDirectories")
    wanted = [*_CACHES, *(named if isinstance(named, list) else [])]
    folders = [
        str(folder).strip("/") for folder in wanted if re.fullmatch(r"[\w@.-]+(/[\w@.-]+)*/?", str(folder))
    ]
    own = [
        folder for folder in folders if folder not in ("node_modules", ".") and ".." not in folder.split("/")
    ]
    words = " ".join(shlex.quote(folder) for folder in dict.fromkeys(own[:20]))
    script = "\n".join(line for _, line in builds)
    env = {**BUILD_ENV, **_QUIET, **manager.env, "NODE_ENV": "production"}
    if "@sveltejs/adapter-auto" in package.wanted:
        env["GCP_BUILDPACKS"] = (
            "1"  # the one place where adapter-auto takes adapter-node, which it installs itself
        )
    return Step(
        name="build",
        title=f"Running the scripts of package.json: {', '.join(told for told, _ in builds[:8])}",
        script=_use_headers(onto)
        + _RESTORE.format(folders=words)
        + script
        + "\n"
        + _SAVE.format(folders=words, most=MAX_CACHE_MIB),
        outputs=("/app",),
        key=(RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env=env,
        failure_hints=BUILD_HINTS,
        onto=onto,
        reused="Build script: sources and config unchanged, layer reused",
    )
