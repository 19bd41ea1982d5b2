"""Quotas on the real kernel, on whatever cgroup version it mounts, and on v1 without the v2 tree beside it."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.cgroup import CgroupError, Cgroups, Group, cgroup_mounts, detect, enter
from runtime.cgroup.v1 import V1
from runtime.kernel.forked import fork
from runtime.spec import MIB, Limits

NOBODY = 65534
Start = Callable[..., "subprocess.Popen[bytes]"]


def _without_unified(platform_id: str) -> Cgroups:
    mounts = cgroup_mounts(Path("/proc/self/mountinfo").read_text())
    del mounts["unified"]
    return V1(platform_id, mounts)


def _variants() -> list[Callable[[str], Cgroups]]:
    mounts = cgroup_mounts(Path("/proc/self/mountinfo").read_text())
    return [detect, _without_unified] if {"freezer", "memory"} <= set(mounts) else [detect]


@pytest.fixture(params=_variants(), ids=lambda make: make.__name__)
def cgroups(request: pytest.FixtureRequest) -> Iterator[Cgroups]:
    groups: Cgroups = request.param(f"t{secrets.token_hex(3)}")
    yield groups
    groups.remove()
    assert groups.groups() == []


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code that first joins the group given; all are killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def run(group: Group, code: str, *, shim: bool = False) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.readline()\n" + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        group.join(process.pid, shim=shim)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.01)


def test_a_process_over_its_memory_is_killed_and_counted(cgroups: Cgroups, start: Start) -> None:
    group = cgroups.create("i1", Limits(memory_bytes=48 * MIB))
    watch = group.watch_oom()
    poll = select.epoll()
    poll.register(watch.fileno(), watch.events)
    assert poll.poll(0) == []
    hog = start(group, "x = bytearray(200 << 20)")
    assert hog.wait(20) == -signal.SIGKILL
    assert poll.poll(10)
    watch.clear()
    assert poll.poll(0) == []
    _until(lambda: group.oom_kills() == 1)
    assert 40 * MIB < group.stats().peak_memory_bytes <= 48 * MIB
    poll.close()
    watch.close()


def test_the_cpu_quota_holds(cgroups: Cgroups, start: Start) -> None:
    group = cgroups.create("i1", Limits(cpu_millis=200))
    start(group, "while True: pass")
    _until(lambda: group.stats().throttled_usec > 0)
    before, at = group.stats().cpu_usec, time.monotonic()
    time.sleep(1.5)
    share = (group.stats().cpu_usec - before) / 1e6 / (time.monotonic() - at)
    assert share < 0.26


def test_a_fork_bomb_meets_the_limit(cgroups: Cgroups, start: Start) -> None:
    group = cgroups.create("i1", Limits(pids=12))
    bomb = start(
        group,
        "import os, time\n"
        "for n in range(100):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(100)\n"
        "    except BlockingIOError: print(n, flush=True); break\n"
        "time.sleep(100)",
    )
    assert bomb.stdout is not None
    assert int(bomb.stdout.readline()) == 11
    assert group.stats().pids == 12
    group.kill()
    _until(lambda: group.pids() == [])


def test_kill_reaches_frozen_processes_and_spares_the_shim(cgroups: Cgroups, start: Start) -> None:
    group = cgroups.create("i1", Limits())
    app = start(group, "import time; time.sleep(100)")
    shim = start(group, "import time; time.sleep(100)", shim=True)
    assert group.pids() == [app.pid]
    group.set_frozen(True)
    group.kill()
    assert app.wait(20) == -signal.SIGKILL
    assert shim.poll() is None
    group.remove()
    assert shim.wait(20) == -signal.SIGKILL


def test_frozen_processes_use_no_cpu_until_they_are_thawed(cgroups: Cgroups, start: Start) -> None:
    group = cgroups.create("i1", Limits())
    start(group, "while True: pass")
    _until(lambda: group.stats().cpu_usec > 10_000)
    group.set_frozen(True)

    def used() -> int:
        before = group.stats().cpu_usec
        time.sleep(0.3)
        return group.stats().cpu_usec - before

    _until(lambda: used() == 0)  # a process freezes at its next turn, which may be late
    assert used() == 0
    group.set_frozen(False)
    _until(lambda: used() > 0)


def test_the_shim_is_charged_to_the_app_for_cpu(cgroups: Cgroups, start: Start) -> None:
    group = cgroups.create("i1", Limits(cpu_millis=300))
    start(group, "while True: pass", shim=True)
    _until(lambda: group.stats().cpu_usec > 50_000)
    _until(lambda: group.stats().throttled_usec > 0)


@pytest.mark.parametrize("swap", [0, 32 * MIB])
def test_limits_can_be_raised_and_lowered_while_running(cgroups: Cgroups, start: Start, swap: int) -> None:
    group = cgroups.create("i1", Limits(memory_bytes=64 * MIB, swap_bytes=swap))
    app = start(group, "x = bytearray(50 << 20); print(1, flush=True); import time; time.sleep(100)")
    assert app.stdout is not None
    app.stdout.readline()
    for memory in (256, 96, 400, 64):
        group.limit(Limits(memory_bytes=memory * MIB, swap_bytes=swap))
    group.limit(Limits(memory_bytes=512 * MIB))
    with pytest.raises(CgroupError, match="in use"):
        group.limit(Limits(memory_bytes=16 * MIB))
    assert app.poll() is None


def test_create_over_leftovers_kills_them(cgroups: Cgroups, start: Start) -> None:
    left = start(cgroups.create("i1", Limits()), "import time; time.sleep(100)")
    again = cgroups.create("i1", Limits())
    assert left.wait(20) == -signal.SIGKILL
    assert again.pids() == []
    assert cgroups.groups() == ["i1"]


def test_remove_twice_and_of_half_a_group(cgroups: Cgroups) -> None:
    group = cgroups.create("i1", Limits())
    group.view()[0][0].rmdir()
    assert cgroups.groups() == ["i1"]
    cgroups.create("i1", Limits()).remove()
    group.remove()
    assert cgroups.groups() == []


def test_only_harmless_devices_open(cgroups: Cgroups, start: Start, tmp_path: Path) -> None:
    if cgroups.version == "v2":
        pytest.skip("cgroup v2 has no device list; nodev mounts stand in its place")
    os.mknod(tmp_path / "mem", 0o600 | 0o020000, os.makedev(1, 1))
    code = (
        "import os\n"
        "os.close(os.open('/dev/null', os.O_RDWR)); os.close(os.open('/dev/ptmx', os.O_RDWR))\n"
        f"try: os.open({str(tmp_path / 'mem')!r}, os.O_RDONLY)\n"
        "except PermissionError: print('refused', flush=True)"
    )
    probe = start(cgroups.create("i1", Limits()), code)
    assert probe.communicate(timeout=20)[0] == b"refused\n"


def test_a_daemon_without_privileges_moves_its_own_children_and_nobody_elses(
    cgroups: Cgroups, start: Start
) -> None:
    lent = cgroups.lend("git", Limits(memory_bytes=64 * MIB), NOBODY, NOBODY)
    foreign = start(cgroups.create("i1", Limits()), "import time; time.sleep(100)")

    def daemon() -> int:
        enter(lent.daemon)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        for path in lent.work:
            with suppress(PermissionError):
                path.write_text(str(foreign.pid))
                return 2
        enter(lent.work)
        return 0 if "/_git" in Path("/proc/self/cgroup").read_text() else 3

    assert os.waitstatus_to_exitcode(os.waitpid(fork("daemon", daemon), 0)[1]) == 0
    assert cgroups.groups() == ["i1"], "what is lent is no instance"


def test_a_group_has_its_weight_on_disks_whose_scheduler_knows_weights(cgroups: Cgroups) -> None:
    group = cgroups.create("i1", Limits(cpu_weight=20))
    found = [
        path.read_text().split()[-1]
        for top in cgroups.tops
        for name in ("blkio.bfq.weight", "io.bfq.weight")
        if (path := top / group.id / name).exists()
    ]
    offered = [path for path in Path("/sys/block").glob("*/queue/scheduler") if "[bfq]" in path.read_text()]
    assert set(found) <= {"20"} and (found or not offered)
