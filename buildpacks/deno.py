"""Deno apps: deno.json or deno.lock, the packages they name, the start task or an entry point. Pure."""

from __future__ import annotations

import re
import shlex

from buildpacks.nodemanagers import LOCKS, Manager
from buildpacks.noderuntime import package_step
from buildpacks.nodeweb import BUILT, listens, look_steps
from buildpacks.plan import Plan, Step, Tree, read_text

RECIPE = "deno-1"
VERSION = "2.9.6"
INTEGRITY = "sha512-3md4TKLCuzsLDmfOoC5KN7NAZaxSVkMgm64vg6foD00JBADCpYS2/5QqXfzgnP5ZQz3iLP9vBQJtEgc116OAoQ=="
LOOKS_FOR = ("deno.json", "deno.jsonc", "deno.lock")
_ENTRIES = (
    "main.ts",
    "main.js",
    "main.tsx",
    "server.ts",
    "server.js",
    "index.ts",
    "mod.ts",
    "src/main.ts",
    "src/server.ts",
)
_ENV = {"DENO_DIR": "/app/.deno", "DENO_NO_UPDATE_CHECK": "1", "LANG": "C.UTF-8"}
_ADDRESS = "DENO_SERVE_ADDRESS=tcp:0.0.0.0:$PORT"
"""Deno.serve listens there, whatever the code says."""
_REGISTRY = '[ -z "${npm_config_registry:-}" ] || export NPM_CONFIG_REGISTRY=$npm_config_registry\n'
_TIDY = "mkdir -p .deno\nrm -f .deno/*_cache_v*\n"


def detect(tree: Tree) -> str | None:
    """A file of Deno, when no package manager of Node has its lock there."""
    if any(tree.exists(lock) for lock in LOCKS) or (
        tree.exists("package.json") and not tree.exists("deno.lock")
    ):
        return None
    return next((name for name in LOOKS_FOR if tree.exists(name)), None)


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused: a configuration that is not text."""
    config = next((name for name in ("deno.json", "deno.jsonc") if tree.exists(name)), None)
    tasks = _tasks(read_text(tree, config)) if config else set()
    entry = next((name for name in _ENTRIES if tree.exists(name)), None)
    steps = [
        package_step(
            "@deno/linux-x64-glibc",
            VERSION,
            INTEGRITY,
            title=f"Deno {VERSION}",
            onto=(),
            commands='{"deno": "deno"}',
        )
    ]
    files = [name for name in (config, "deno.lock", "package.json", ".npmrc") if name and tree.exists(name)]
    if config or tree.exists("package.json"):
        steps.append(_install(tuple(files), locked=tree.exists("deno.lock")))
    lines = ([f"deno cache {shlex.quote(entry)}"] if entry else []) + (
        ["deno task build"] if "build" in tasks else []
    )
    if lines:
        steps.append(_build(lines, tuple(step.name for step in steps)))
    web = f"{_ADDRESS} deno task start" if "start" in tasks else _run(tree, entry)
    if "build" in tasks and "start" not in tasks and not (entry and _serves(tree, entry)):
        onto = tuple(step.name for step in steps)
        steps += look_steps(tree, entry or "", onto, run="deno run -A", via="deno run -A npm:")
        web = f"{_ADDRESS} {BUILT}"
    return Plan(
        language="Deno",
        detected=detect(tree) or "deno.json",
        notes=(f"Using Deno {VERSION}",),
        steps=tuple(steps),
        env=dict(_ENV),
        path=("/app/.node/bin",),
        default_processes={"web": web} if web else {},
    )


def _tasks(text: str) -> set[str]:
    """Names of tasks in the configuration, which may hold comments."""
    found = re.search(r'"tasks"\s*:\s*\{(.*)', text, re.DOTALL)
    return set(re.findall(r'"(start|build)"\s*:', found[1])) if found else set()


def _run(tree: Tree, entry: str | None) -> str:
    if entry is None:
        return ""
    if _exports_handler(tree, entry):
        return f"deno serve -A --host 0.0.0.0 --port $PORT {entry}"
    return f"{_ADDRESS} deno run -A {entry}"


def _serves(tree: Tree, entry: str) -> bool:
    return listens(tree, entry) or _exports_handler(tree, entry)


def _exports_handler(tree: Tree, entry: str) -> bool:
    text = read_text(tree, entry)
    exports = re.search(r"^export default\b", text, re.MULTILINE)
    return bool(exports) and "fetch" in text and "Deno.serve" not in text


def _install(files: tuple[str, ...], *, locked: bool) -> Step:
    manager = Manager(
        name="deno",
        version=VERSION,
        lock="deno.lock" if locked else None,
        frozen="deno install --frozen",
        loose="deno install",
        production="",
        stale="lockfile is out of date",
    )
    return Step(
        name="dependencies",
        title="Installing dependencies with deno install",
        script=_REGISTRY + manager.script(dev=False) + _TIDY,
        outputs=("/app",),
        key=(RECIPE, VERSION),
        inputs=files,
        env=_ENV,
        notices=manager.notices,
        onto=("Deno",),
        reused="Restoring cache: dependencies unchanged, layer reused",
    )


def _build(lines: list[str], onto: tuple[str, ...]) -> Step:
    """What the code imports by address, and the build task, over the source."""
    return Step(
        name="build",
        title=f"Running {', '.join(lines)}",
        script=_REGISTRY + "\n".join(lines) + "\n" + _TIDY,
        outputs=("/app",),
        key=(RECIPE, VERSION),
        source=True,
        config=True,
        after_source=True,
        env=_ENV,
        onto=onto,
        reused="Build: sources and config unchanged, layer reused",
    )
