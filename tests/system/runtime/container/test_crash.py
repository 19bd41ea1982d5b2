"""The spawner, a shim or the machine dies: what runs on, what is recorded, what is cleaned."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.spawner import SpawnerUnderTest, wait_for

from runtime import cgroup
from runtime.client import SpawnerError
from runtime.net import links
from runtime.net.netlink import Netlink
from runtime.spec import Limits, Order

TICKER = "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.02; done"


@pytest.fixture
def spawner() -> Iterator[SpawnerUnderTest]:
    running = SpawnerUnderTest()
    running.start()
    yield running
    running.close()


def leftovers(spawner: SpawnerUnderTest) -> dict[str, list[str]]:
    """Everything on the machine that bears this platform's id, and its folders."""
    layout = spawner.layout
    with Netlink() as route:
        interfaces = [link.name for link in links.links(route) if link.name.startswith(f"p{layout.id}-")]
    return {
        "links": interfaces,
        "cgroups": cgroup.detect(layout.id).groups(),
        "run folders": sorted(path.name for path in layout.run_instances.iterdir()),
        "uppers": sorted(path.name for path in layout.instances.iterdir() if path.name != ".trash"),
        "stage": sorted(path.name for path in (layout.run / "stage").iterdir()),
    }


def ended_pid(pid: int) -> bool:
    """Whether a process is gone or waits for its parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


NOTHING = {"links": [], "cgroups": [], "run folders": [], "uppers": [], "stage": []}


def test_a_container_runs_on_and_logs_on_without_a_spawner(spawner: SpawnerUnderTest) -> None:
    instance_id, started = spawner.start_container("/bin/sh", "-c", TICKER, network=True)
    wait_for(lambda: spawner.messages(instance_id), "a first tick")
    spawner.kill()
    count = len(spawner.messages(instance_id))
    wait_for(lambda: len(spawner.messages(instance_id)) > count + 5, "ticks without a spawner")
    spawner.start()
    seen = spawner.observed(instance_id)
    assert (seen.state, seen.pid, seen.address) == ("running", started.pid, started.address)
    assert (seen.start_ticks, seen.boot_id) == (started.start_ticks, started.boot_id)
    numbers = [int(line.split()[1]) for line in spawner.messages(instance_id)]
    assert numbers == list(range(1, len(numbers) + 1))
    ended = spawner.client.delete(instance_id)
    assert ended.signal == signal.SIGKILL
    assert leftovers(spawner) == NOTHING


def test_an_adopted_container_keeps_its_address_to_itself(spawner: SpawnerUnderTest) -> None:
    first, started = spawner.start_container("/bin/sleep", "60", network=True)
    spawner.restart()
    second, other = spawner.start_container("/bin/sleep", "60", network=True)
    assert other.address != started.address
    for instance_id in (first, second):
        spawner.client.delete(instance_id)


def test_an_adopted_container_is_watched_signalled_and_limited(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    )
    wait_for(lambda: spawner.messages(instance_id), "the handler")
    spawner.restart()
    spawner.client.limit(instance_id, Limits(pids=30))
    spawner.client.signal(instance_id, "TERM")
    assert spawner.wait_exit(instance_id).status == 4


def test_a_container_that_an_earlier_release_started_is_adopted(spawner: SpawnerUnderTest) -> None:
    instance_id, started = spawner.start_container(
        "/bin/sleep", "60", type="night-job", number=2, network=True
    )
    state = spawner.state(instance_id)
    del state["order"]
    state |= {"id": instance_id, "log": {"app_id": "atest", "source": "app", "dyno": "night-job.2"}}
    spawner.kill()
    (spawner.layout.run_instances / instance_id / "state.json").write_text(json.dumps(state))
    spawner.start()
    seen = spawner.observed(instance_id)
    assert (seen.state, seen.pid, seen.address) == ("running", started.pid, started.address)
    assert seen.order == Order(instance_id, "atest", "night-job", 2)
    assert spawner.client.delete(instance_id).signal == 9


def test_an_end_without_a_spawner_is_recorded_all_the_same(spawner: SpawnerUnderTest) -> None:
    instance_id, started = spawner.start_container("/bin/sh", "-c", "sleep 0.3; exit 11")
    spawner.kill()
    wait_for(lambda: ended_pid(started.pid), "the end of the container")
    spawner.start()
    seen = spawner.observed(instance_id)
    assert (seen.state, seen.exit.status) == ("exited", 11)


def test_an_end_is_recorded_when_the_disk_of_the_run_folder_is_full(spawner: SpawnerUnderTest) -> None:
    """The run folder on a small file system of its own, filled while the container runs."""
    spawner.kill()
    folder = spawner.layout.run_instances
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=750", "tmpfs", str(folder)], check=True)
    try:
        spawner.start()
        instance_id, _ = spawner.start_container(
            "/bin/sh", "-c", "trap 'exit 13' TERM; echo ready; while :; do sleep 0.05; done"
        )
        wait_for(lambda: spawner.messages(instance_id), "the handler")
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
        spawner.client.signal(instance_id, "TERM")
        assert spawner.wait_exit(instance_id).status == 13
        filler.unlink()
        spawner.client.delete(instance_id)
        spawner.kill()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_wall_limit_holds_without_a_spawner(spawner: SpawnerUnderTest) -> None:
    instance_id, started = spawner.start_container("/bin/sleep", "60", resources=Limits(wall_s=0.5))
    spawner.kill()
    wait_for(lambda: ended_pid(started.pid), "the wall limit")
    spawner.start()
    seen = spawner.observed(instance_id)
    assert (seen.exit.signal, seen.exit.wall_exceeded) == (9, True)


@pytest.mark.parametrize("restart", [False, True])
def test_a_dead_shim_takes_its_container_with_it(spawner: SpawnerUnderTest, restart: bool) -> None:
    instance_id, started = spawner.start_container("/bin/sleep", "60", network=True)
    if restart:
        spawner.restart()
    os.kill(spawner.state(instance_id)["shim"]["pid"], signal.SIGKILL)
    ended = spawner.wait_exit(instance_id)
    assert (ended.status, ended.signal) == (137, 9)
    assert ended_pid(started.pid)
    spawner.client.delete(instance_id)
    assert leftovers(spawner) == NOTHING


def test_the_spawner_dies_with_its_supervisor_and_containers_do_not(spawner: SpawnerUnderTest) -> None:
    """A process in between starts it here, just as the supervisor of a platform does."""
    instance_id, started = spawner.start_container("/bin/sleep", "60")
    spawner.kill()
    script = (
        "import os, sys, time\n"
        "from paas.host import accounts, launch\n"
        "argv, root = (sys.executable, '-P', '-m', 'runtime.spawner.server', *sys.argv[1:]), accounts.Account('root', 0, 0)\n"
        "print(launch.start(launch.Program(argv, root, None, os.environ)), flush=True); time.sleep(600)"
    )
    with in_between([sys.executable, "-c", script, *options(spawner)]) as supervisor:
        pid = started_pid(supervisor)
        wait_for(lambda: observed(spawner, instance_id), "the spawner to serve")
        supervisor.kill()
    wait_for(lambda: ended_pid(pid), "the spawner to die with its parent")
    assert Path(f"/proc/{started.pid}").exists()
    spawner.start()
    assert spawner.observed(instance_id).state == "running"


def test_a_spawner_in_the_background_of_a_shell_outlives_it(spawner: SpawnerUnderTest) -> None:
    spawner.kill()
    script = f'{sys.executable} -P -m runtime serve "$@" & echo $!; sleep 600'
    with in_between(["/bin/sh", "-c", script, "sh", *options(spawner)]) as shell:
        pid = started_pid(shell)
        wait_for(lambda: observed(spawner), "the spawner to serve")
        shell.kill()
    try:
        time.sleep(0.2)
        assert spawner.client.list() == []
    finally:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: ended_pid(pid), "the end of the spawner")


def options(spawner: SpawnerUnderTest) -> list[str]:
    return ["--home", str(spawner.home), "--stacks", str(spawner.layout.stacks)]


def in_between(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4])


def started_pid(parent: subprocess.Popen[str]) -> int:
    """What the process in between printed first."""
    assert parent.stdout is not None
    return int(parent.stdout.readline())


def observed(spawner: SpawnerUnderTest, instance_id: str | None = None) -> bool:
    """Whether it answers, and knows the container."""
    try:
        return instance_id in (None, *(seen.id for seen in spawner.client.list()))
    except SpawnerError:
        return False


def test_only_one_spawner_serves_a_home(spawner: SpawnerUnderTest) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "runtime.spawner.server",
        "--home",
        str(spawner.home),
        "--stacks",
        str(spawner.layout.stacks),
    ]
    second = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[4], timeout=60, check=False
    )
    assert second.returncode == 1
    assert "another spawner runs" in second.stderr
    assert spawner.client.list() == []


def test_after_a_reboot_nothing_of_the_old_boot_is_taken_for_alive(spawner: SpawnerUnderTest) -> None:
    """A boot id that is not this one: the pids of the record now belong to anybody."""
    instance_id, started = spawner.start_container("/bin/sleep", "60", network=True)
    spawner.kill()
    path = spawner.layout.run_instances / instance_id / "state.json"
    state = json.loads(path.read_text())
    innocent = os.getpid()
    state["process"] = {"pid": innocent, "start_ticks": 1, "boot_id": "00000000-0000-0000-0000-000000000000"}
    path.write_text(json.dumps(state))
    spawner.start()
    assert spawner.client.list() == []
    assert leftovers(spawner) == NOTHING
    wait_for(lambda: ended_pid(started.pid), "the orphan to be ended")


def test_a_pid_used_again_is_never_signalled(spawner: SpawnerUnderTest) -> None:
    instance_id, started = spawner.start_container("/bin/true")
    spawner.wait_exit(instance_id)
    spawner.kill()
    folder = spawner.layout.run_instances / instance_id
    state = json.loads((folder / "state.json").read_text())
    state["process"]["pid"] = os.getpid()
    state["shim"]["pid"] = os.getpid()
    (folder / "state.json").write_text(json.dumps(state))
    spawner.start()
    spawner.client.kill(instance_id)
    spawner.client.delete(instance_id)
    assert started.pid != os.getpid()


def test_what_was_half_made_is_removed(spawner: SpawnerUnderTest) -> None:
    spawner.kill()
    layout = spawner.layout
    half = layout.run_instances / "thalf"
    half.mkdir()
    (half / "state.json").write_text('{"id": "thalf", "phase": "creating"}')
    (layout.run_instances / "tempty").mkdir()
    torn = layout.run_instances / "ttorn"
    torn.mkdir()
    (torn / "state.json").write_text('{"id": "tto')
    (layout.instances / "tupper" / "upper" / "app").mkdir(parents=True)
    cgroup.detect(layout.id).create("tgroup", Limits())
    spawner.start()
    assert spawner.client.list() == []
    assert leftovers(spawner) == NOTHING


def test_killed_at_any_moment_of_starts_and_ends_nothing_is_left(spawner: SpawnerUnderTest) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    moments = random.Random(seed)
    mounts = Path("/proc/self/mountinfo").read_text()
    for _ in range(12):
        stop = threading.Event()

        def work(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                try:
                    instance_id, _ = spawner.start_container("/bin/sleep", "60", network=True)
                    spawner.client.delete(instance_id)
                except SpawnerError:
                    return

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(moments.uniform(0.0, 0.15))
        spawner.kill()
        stop.set()
        thread.join()
        spawner.start()
        for seen in spawner.client.list():
            assert seen.state in ("running", "exited")
            spawner.client.delete(seen.id)
        assert leftovers(spawner) == NOTHING
    assert Path("/proc/self/mountinfo").read_text() == mounts
