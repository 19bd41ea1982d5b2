"""Daemons killed at random moments of deployments, under steady traffic: invariants after every kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from harness.platform import Platform, commit, wait_for
from harness.visitors import Visitors

from paas.store import Store
from runtime.client import Spawner, SpawnerError

pytestmark = pytest.mark.long

ROUNDS = 30
DAEMONS = ("converge", "converge", "spawner", "api", "git")
"""Converge twice: it is the one that moves things."""


def test_kills_at_random_moments_leave_one_release_serving_and_nothing_else(platform: Platform) -> None:
    seed = int(os.environ.get("PAAS_TEST_SEED", str(random.randrange(1 << 32))))
    print(f"PAAS_TEST_SEED={seed}")
    dice = random.Random(seed)
    repository = platform.deploy("examples/hello", "steady")
    platform.paas("scale", "web=2", "-a", "steady")
    with Visitors(platform.http, f"steady.localhost:{platform.http}", rate=100) as visitors:
        for number in range(ROUNDS):
            daemon = dice.choice(DAEMONS)
            change = _change(
                platform, repository, number, dice.choice(["push", "config", "scale", "rollback"])
            )
            time.sleep(dice.uniform(0.0, 1.2))
            old = platform.running_pid(daemon)
            os.kill(old, signal.SIGKILL)
            change.join(120)
            wait_for(lambda daemon=daemon, old=old: platform.pid_of(daemon) not in (0, old))
            _check(platform, seed=seed, number=number, daemon=daemon)
    assert visitors.tally.failures == []
    commit(repository, "after all", **{"notes.txt": "the end"})
    assert "is live" in wait_for(lambda: _pushed(platform, repository))


def _change(platform: Platform, repository: Path, number: int, kind: str) -> threading.Thread:
    """Something that deploys, in the background; whether it succeeds depends on what is killed."""
    commit(repository, f"round {number}", **{"notes.txt": str(number)})
    work: dict[str, Any] = {
        "push": lambda: platform.push(repository, "steady"),
        "config": lambda: platform.paas("config:set", f"ROUND={number}", "-a", "steady", check=False),
        "scale": lambda: platform.paas("scale", f"web={2 + number % 2}", "-a", "steady", check=False),
        "rollback": lambda: platform.paas("rollback", "-a", "steady", check=False),
    }
    thread = threading.Thread(target=work[kind])
    thread.start()
    return thread


def _pushed(platform: Platform, repository: Path) -> str:
    done = platform.push(repository, "steady")
    return done.stdout if done.returncode == 0 else ""


def _check(platform: Platform, **where: Any) -> None:
    """One release serves with as many instances as wanted, rows and containers agree, the database is whole."""
    deadline = time.monotonic() + 60
    while True:
        problem = _problem(platform)
        if not problem:
            return
        assert time.monotonic() < deadline, f"{where}: {problem}"
        time.sleep(0.2)


def _problem(platform: Platform) -> str:
    store = Store(platform.home / "store" / "paas.db")
    try:
        with store.read() as tx:
            unfinished = tx.execute("SELECT count(*) FROM deployment WHERE finished_at IS NULL").fetchone()[0]
            running_builds = tx.execute("SELECT count(*) FROM build WHERE status = 'running'").fetchone()[0]
            rows = tx.execute(
                "SELECT id, state, release_number FROM instance WHERE ended_at IS NULL"
            ).fetchall()
            (serving, wanted) = tx.execute(
                "SELECT release_number, (SELECT quantity FROM formation WHERE type = 'web') FROM app"
            ).fetchone()
            integrity = tx.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        store.close()
    try:
        containers = {item.id for item in Spawner(platform.run_folder / "spawner" / "spawner.sock").list()}
    except SpawnerError as error:
        return error.message
    if unfinished or running_builds:
        return f"{unfinished} deployments and {running_builds} builds are unfinished"
    if sorted(state for _, state, _ in rows) != ["up"] * wanted or {number for *_, number in rows} != {
        serving
    }:
        return f"release {serving} wants {wanted} instances, there are {rows}"
    if containers != {f"i{id}" for id, *_ in rows}:
        return f"containers {containers} are not rows {rows}"
    return "" if integrity == "ok" else f"integrity: {integrity}"


def test_a_router_worker_killed_during_switches_costs_only_its_own_connections(platform: Platform) -> None:
    repository = platform.deploy({"index.html": "0"}, "routed")
    with Visitors(platform.http, f"routed.localhost:{platform.http}", count=8, rate=200) as visitors:
        for number in range(10):
            commit(repository, f"round {number}", **{"index.html": str(number)})
            killer = threading.Timer(0.3, lambda: os.kill(platform.running_pid("router.1"), signal.SIGKILL))
            killer.start()
            done: subprocess.CompletedProcess[str] = platform.push(repository, "routed")
            killer.join()
            assert done.returncode == 0, done.stdout
            wait_for(lambda: platform.pid_of("router.1"))
            wait_for(lambda number=number: platform.get("routed").text == str(number))
            time.sleep(0.5)
    assert not [failure for failure in visitors.tally.failures if " 50" in failure], visitors.tally.failures
    assert len(visitors.tally.failures) <= 10 * 8
