"""All the load that one generator can make, with deployments in between: no failure, and memory stays flat."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from harness.platform import Platform, commit

pytestmark = pytest.mark.long

SECONDS = 30


def workers_pss_kib(platform: Platform) -> int:
    total = 0
    for item in platform.status()["daemons"]:
        if item["name"].startswith("router"):
            text = Path(f"/proc/{item['pid']}/smaps_rollup").read_text()
            total += int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))
    return total


def test_full_load_with_deployments_fails_nobody_and_grows_nothing(platform: Platform) -> None:
    repository = platform.deploy("examples/hello", "full")
    platform.paas("scale", "web=2", "-a", "full")
    url = f"http://127.0.0.1:{platform.http}/"
    argv = ["wrk", "-t", "1", "-c", "64", "-d", f"{SECONDS}s", "--timeout", "30s", "--latency"]
    load = subprocess.Popen(
        [*argv, "-H", f"Host: full.localhost:{platform.http}", url], stdout=subprocess.PIPE, text=True
    )
    memory, rounds = [], 0
    try:
        while load.poll() is None and rounds < 100:
            rounds += 1
            commit(repository, f"Round {rounds}", **{"notes.txt": str(rounds)})
            done = platform.push(repository, "full")
            assert done.returncode == 0, done.stdout
            platform.paas("config:set", f"ROUND={rounds}", "-a", "full")
            memory.append(workers_pss_kib(platform))
            time.sleep(1)
        report = load.communicate(timeout=90)[0]
    finally:
        load.kill()
        load.wait()
    assert "Non-2xx" not in report and "Socket errors" not in report, report
    assert int(re.findall(r"(\d+) requests in", report)[0]) > 100 * SECONDS, report
    assert rounds >= 3
    assert memory[-1] < 1.25 * memory[1], memory
