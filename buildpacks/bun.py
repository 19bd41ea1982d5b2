"""Bun apps: a package.json with a lock of Bun. Node's plan, with Bun as the runtime and the installer. Pure."""

from __future__ import annotations

import json

from buildpacks.node import RUN_ENV, Toolchain, plan_with
from buildpacks.nodemanagers import LOCKS, Manager, exact_version
from buildpacks.nodepackage import read_package
from buildpacks.noderuntime import package_step
from buildpacks.plan import Plan, Tree

LOOKS_FOR = ("bun.lock", "bun.lockb")
VERSION = "1.4.5"
INTEGRITY = "sha512-IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g=="


def detect(tree: Tree) -> str | None:
    """A lock of Bun and of no other manager, or `packageManager` in package.json that names Bun."""
    if not tree.exists("package.json"):
        return None
    lock = next((name for name in LOOKS_FOR if tree.exists(name)), None)
    others = any(tree.exists(name) for name, manager in LOCKS.items() if manager != "bun")
    if lock and not others:
        return lock
    return (lock or "package.json") if _named(tree) and (lock or not others) else None


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused: a package.json that cannot be read."""
    package = read_package(tree)
    lock = next((name for name in LOOKS_FOR if tree.exists(name)), None)
    asked = exact_version(package.data, "bun")
    version = asked or VERSION
    runtime = package_step(
        "@oven/bun-linux-x64",
        version,
        INTEGRITY if version == VERSION else "",
        title=f"Bun {version}",
        onto=(),
        commands='{"bun": "bin/bun", "bunx": "bin/bun"}',
    )
    manager = Manager(
        name="bun",
        version=version,
        lock=lock,
        frozen="bun install --frozen-lockfile",
        loose="bun install --no-save",
        production="--omit=dev",  # --production would take any lock as frozen
        stale="lockfile had changes",
        prepare="unset CI\n",  # which would do so, too
        env={"BUN_INSTALL_CACHE_DIR": "/cache/bun"},
    )
    why = "packageManager in package.json" if asked else "the default; packageManager in package.json pins it"
    note = f"Using Bun {version} ({why})"
    return plan_with(
        tree, package, Toolchain("Bun", "bun", "bun run", manager, (runtime,), (note,), env=RUN_ENV)
    )


def _named(tree: Tree) -> bool:
    try:
        data = json.loads(tree.read("package.json"))
    except (ValueError, OSError, RecursionError):
        return False
    return isinstance(data, dict) and str(data.get("packageManager") or "").startswith("bun@")
