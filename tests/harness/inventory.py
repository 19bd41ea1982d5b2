"""What a machine holds that a platform could leave behind: compared before and after."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_SYSCTLS = ("net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter")
_IDENTITY = re.compile(r"(?:paas[-_/]|\bp)([0-9a-f]{6})\b")


def inventory() -> dict[str, set[str]]:
    """Links, nft tables, routes, sysctls, mounts, cgroups and processes that could be a platform's."""
    return {
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "nft tables": set(_output("nft", "list", "tables")),
        "routes": set(_output("ip", "-4", "route", "show", "table", "all")),
        "sysctls": {f"{name}={Path('/proc/sys', name).read_text().strip()}" for name in _SYSCTLS},
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "cgroups": {
            # os.walk passes over a group of another test that goes meanwhile
            f"{folder}/{name}"
            for folder, names, _ in os.walk("/sys/fs/cgroup")
            for name in names
            if name.startswith("paas-")
        },
        "run folders": {str(path) for path in Path("/run/paas").glob("*")},
        "processes": _processes(),
    }


def _output(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _processes() -> set[str]:
    wanted = re.compile(r"paas-[0-9a-f]{6}|/run/paas/[0-9a-f]{6}|runtime\.spawner|-m router")
    lines = _output("ps", "-eo", "pid=,args=")
    return {line for line in lines if wanted.search(line) and "pytest" not in line}


def difference(before: dict[str, set[str]], after: dict[str, set[str]], own: set[str]) -> dict[str, set[str]]:
    """What is there now and was not before, by kind; empty when nothing was left behind.

    `own` are the ids and homes of the platforms under test. What names another platform is that platform's,
    and what names none (a sysctl, a route) counts only while no other platform is there.
    """
    new = {kind: after[kind] - before[kind] for kind in before}
    alone = not any(
        set(_IDENTITY.findall(item)) - own for kind in before for item in before[kind] | after[kind]
    )
    kept = {kind: {item for item in items if _is_ours(item, own, alone)} for kind, items in new.items()}
    return {kind: items for kind, items in kept.items() if items}


def _is_ours(item: str, own: set[str], alone: bool) -> bool:
    return alone or any(name in item for name in own)
