"""Minutes of deployments under steady traffic: nobody is failed, and nothing grows."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.platform import Platform, commit, traces, wait_for
from harness.visitors import Visitors

pytestmark = pytest.mark.long

SOAK_S = 60
WARM_UP_ROUNDS = 4


@dataclass(frozen=True)
class Footprint:
    """What the control plane holds at rest."""

    descriptors: int
    memory_kib: int
    links: int
    cgroups: int
    folders: int


def _footprint(platform: Platform) -> Footprint:
    pids = [item["pid"] for item in platform.status()["daemons"]]
    memory = descriptors = 0
    for pid in pids:
        descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            memory += int(next(line for line in lines if line.startswith("Pss_Anon:")).split()[1])
    links = [name for name in os.listdir("/sys/class/net") if name.startswith(f"p{platform.id}-")]
    groups = traces(Path("/sys/fs/cgroup/pids") / f"paas-{platform.id}", "i")
    groups += traces(Path("/sys/fs/cgroup") / f"paas-{platform.id}", "i")
    folders = os.listdir(platform.run_folder / "instances") + os.listdir(platform.home / "instances")
    return Footprint(descriptors, memory, len(links), len(groups), len(folders))


def _settled(platform: Platform) -> bool:
    return len(os.listdir(platform.run_folder / "instances")) == 2


def test_deployments_under_traffic_fail_nobody_and_leave_nothing_growing(platform: Platform) -> None:
    repository = platform.deploy("examples/hello", "soak")
    platform.paas("scale", "web=2", "-a", "soak")
    began, rounds, first = time.monotonic(), 0, None
    with Visitors(platform.http, f"soak.localhost:{platform.http}", rate=200) as visitors:
        while time.monotonic() - began < SOAK_S or rounds < 3 * WARM_UP_ROUNDS:
            rounds += 1
            commit(repository, f"Round {rounds}", **{"notes.txt": str(rounds)})
            done = platform.push(repository, "soak")
            assert done.returncode == 0, done.stdout
            platform.paas("config:set", f"ROUND={rounds}", "-a", "soak")
            platform.paas("scale", "web=3", "-a", "soak")
            platform.paas("scale", "web=2", "-a", "soak")
            platform.paas("rollback", "-a", "soak")
            if rounds == WARM_UP_ROUNDS:
                wait_for(lambda: _settled(platform))
                first = _footprint(platform)
    wait_for(lambda: _settled(platform))
    last = _footprint(platform)
    assert visitors.tally.failures == []
    assert visitors.tally.requests > 20 * SOAK_S
    assert first is not None
    assert (last.links, last.cgroups, last.folders) == (first.links, first.cgroups, first.folders)
    assert last.descriptors <= first.descriptors + 24
    assert last.memory_kib <= first.memory_kib * 1.3 + 8192
