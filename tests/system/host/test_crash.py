"""`kill -9` of any part of the control plane, and a reboot: apps go on, or come back by themselves."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness.platform import STACKS, Platform, commit, free_port, wait_for
from harness.visitors import Visitors

from paas.cli.target import find_target
from paas.host.uninstall import uninstall
from paas.nouns.errors import Conflict
from runtime.client import Spawner
from runtime.home import Layout

DAEMONS = ["spawner", "converge", "api", "git"]


@pytest.fixture(scope="module")
def app(platform: Platform) -> Path:
    repository = platform.deploy("examples/hello", "steady")
    platform.paas("scale", "web=2", "-a", "steady")
    return repository


def _restarted(platform: Platform, daemon: str, old: int) -> bool:
    return platform.pid_of(daemon) not in (0, old)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_killing_a_daemon_costs_no_request_and_it_is_back_at_once(
    platform: Platform, app: Path, daemon: str
) -> None:
    instances = {item["id"] for item in platform.json("ps", "-a", "steady")}
    with Visitors(platform.http, f"steady.localhost:{platform.http}") as visitors:
        time.sleep(0.5)
        old = platform.running_pid(daemon)
        os.kill(old, signal.SIGKILL)
        commit(app, f"After the death of {daemon}", **{"notes.txt": daemon})
        done = platform.push(app, "steady")
        assert done.returncode == 0 and "Traffic switched" in done.stdout, done.stdout
        wait_for(lambda: _restarted(platform, daemon, old))
        platform.paas("config:set", f"KILLED={daemon}", "-a", "steady")
    assert visitors.tally.failures == []
    assert {item["id"] for item in platform.json("ps", "-a", "steady")}.isdisjoint(instances)


def test_apps_are_adopted_and_not_restarted_when_every_daemon_dies_at_once(
    platform: Platform, app: Path
) -> None:
    rows = wait_for(lambda: _settled_instances(platform))
    before = {item["id"]: item["since"] for item in rows}
    pids = {daemon: platform.running_pid(daemon) for daemon in DAEMONS}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for daemon, pid in pids.items():
        wait_for(lambda daemon=daemon, pid=pid: _restarted(platform, daemon, pid))
    after = wait_for(lambda: _instances_or_nothing(platform))
    assert {item["id"]: item["since"] for item in after} == before


def _settled_instances(platform: Platform) -> list[dict[str, str]]:
    rows = _instances_or_nothing(platform)
    return rows if [row["state"] for row in rows] == ["up", "up"] else []


def _instances_or_nothing(platform: Platform) -> list[dict[str, str]]:
    done = platform.paas("ps", "-a", "steady", "--json", check=False)
    if done.returncode:
        return []
    import json

    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_a_dead_router_worker_loses_only_what_it_had_in_flight(platform: Platform, app: Path) -> None:
    with Visitors(platform.http, f"steady.localhost:{platform.http}", count=8) as visitors:
        time.sleep(0.5)
        old = platform.running_pid("router.1")
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: _restarted(platform, "router.1", old))
        time.sleep(2)
    assert len(visitors.tally.failures) <= 8, visitors.tally.failures[:20]
    assert not any("503" in failure or "502" in failure for failure in visitors.tally.failures)


def test_the_death_of_the_server_takes_the_control_plane_along_and_leaves_apps_serving(
    platform: Platform, app: Path
) -> None:
    before = {item["id"] for item in platform.json("ps", "-a", "steady")}
    daemons = [platform.running_pid(daemon) for daemon in DAEMONS]
    with Visitors(platform.http, f"steady.localhost:{platform.http}") as visitors:
        platform.kill()
        wait_for(lambda: not any(_alive(pid) for pid in daemons))
        time.sleep(1)
        platform.start()
        time.sleep(1)
    assert visitors.tally.failures == []
    assert {item["id"] for item in platform.json("ps", "-a", "steady")} == before


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_ctrl_c_leaves_apps_serving_and_the_next_server_adopts_them(platform: Platform, app: Path) -> None:
    before = {item["id"] for item in platform.json("ps", "-a", "steady")}
    daemons = [platform.running_pid(daemon) for daemon in DAEMONS]
    with Visitors(platform.http, f"steady.localhost:{platform.http}") as visitors:
        platform.interrupt()
        assert not any(_alive(pid) for pid in daemons)
        time.sleep(1)
        platform.start()
        assert {item["id"] for item in wait_for(lambda: _instances_or_nothing(platform))} == before
    assert visitors.tally.failures == []
    assert visitors.tally.requests > 100


def test_after_a_reboot_every_app_comes_back_by_itself(platform: Platform, app: Path) -> None:
    simulate_reboot(platform)
    platform.start()
    wait_for(lambda: platform.get("steady").status == 200, 60)
    wait_for(lambda: [item["state"] for item in _instances_or_nothing(platform)] == ["up", "up"], 60)


def simulate_reboot(platform: Platform) -> None:
    """All processes, links and run-time state gone; the disk stays."""
    platform.kill()
    for _ in range(50):
        left = platform.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.1)
    assert platform.processes() == []
    shutil.rmtree(platform.run_folder)


def test_two_platforms_live_side_by_side_and_a_home_serves_only_one_server(
    platform: Platform, lonely: Platform
) -> None:
    lonely.start()
    lonely.make_key()
    lonely.deploy({"index.html": "<h1>the other one</h1>"}, "steady")
    assert "the other one" in lonely.get("steady").text
    assert "the other one" not in platform.get("steady").text
    second = Platform(lonely.folder)
    done = second_server(second)
    assert done[0] == 1
    assert "already runs" in done[1]


def test_whoever_comes_while_the_platform_starts_waits_for_it(lonely: Platform, tmp_path: Path) -> None:
    slow = tmp_path / "npm"
    slow.write_text(
        "#!/bin/sh\nexec sleep 3\n"
    )  # what the machine's npm says is asked before the spawner starts
    slow.chmod(0o755)
    position = lonely.begin(PATH=f"{tmp_path}:{os.environ['PATH']}")
    wait_for(lambda: (lonely.home / "id").exists() and (lonely.run_folder / "status.json").exists())
    lonely.make_key()
    lonely.deploy({"index.html": "<h1>early</h1>"}, "early")
    assert "early" in lonely.get("early").text
    wait_for(lambda: b"ready in" in lonely.log_path.read_bytes()[position:])
    Spawner(lonely.run_folder / "spawner" / "spawner.sock").info()


def test_a_copied_home_is_refused_before_anything_of_the_original_is_touched(lonely: Platform) -> None:
    lonely.start()
    lonely.make_key()
    lonely.deploy({"index.html": "<h1>the original</h1>"}, "steady")
    lonely.interrupt()
    copy = lonely.folder / "copy"
    subprocess.run(["cp", "-a", str(lonely.home), str(copy)], check=True)
    refused = f"{copy} has the id of {lonely.home}"
    while_stopped = lonely.paas("server", "--home", str(copy), check=False)
    assert (while_stopped.returncode, while_stopped.stderr.count(refused)) == (1, 1)
    lonely.start()
    before = lonely.status()
    for words in (
        ["server", "--home", str(copy), "--http", f"127.0.0.1:{free_port()}"],
        ["server:uninstall", "--home", str(copy), "--confirm", str(copy)],
        ["server:status", "--home", str(copy)],
    ):
        done = lonely.paas(*words, check=False)
        assert (done.returncode, done.stderr.count(refused)) == (1, 1), done
    with pytest.raises(Conflict, match=refused):
        find_target({"PAAS_HOME": str(copy)})
    with pytest.raises(Conflict, match=refused):
        uninstall(Layout(copy, STACKS, lonely.id))
    assert lonely.status() == before
    assert all(Path(f"/proc/{daemon['pid']}").exists() for daemon in before["daemons"])
    assert "the original" in lonely.get("steady").text
    assert [app["name"] for app in lonely.json("apps")] == ["steady"]
    lonely.deploy({"index.html": "<h1>a new one</h1>"}, "fresh")


def second_server(platform: Platform) -> tuple[int, str]:
    done = platform.paas(
        "server", "--home", str(platform.home), "--http", f"127.0.0.1:{platform.http}", check=False
    )
    return done.returncode, done.stderr
