"""Children that read hostile bytes: bounded in time, memory, output and reach, and gone when they should be."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.git import runs

from paas.receive import children, git
from paas.receive.context import GitContext
from paas.receive.limits import Limits
from paas.receive.repository import Repositories
from paas.receive.sources import Sources
from paas.ssh import jobs
from runtime.kernel import forked


def test_output_and_status_come_back(tmp_path: Path) -> None:
    done = children.run(["/usr/bin/git", "--version"], bounds=git.bounds(), timeout_s=20)
    assert done.ok and done.stdout.startswith(b"git version")
    failed = children.run(
        git.command(tmp_path, "rev-parse"), bounds=git.bounds(read=[tmp_path]), timeout_s=20
    )
    assert failed.status == 128 and "not a git repository" in failed.last_words()


def test_deadline_ends_it() -> None:
    began = time.monotonic()
    done = children.run(lambda: time.sleep(300), bounds=git.bounds(), timeout_s=0.3)
    assert done.timed_out and not done.ok
    assert time.monotonic() - began < 60


def test_standing_still_ends_it_and_working_does_not() -> None:
    def work() -> None:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            sum(range(1000))
        os.write(1, b"done")

    assert children.run(lambda: time.sleep(300), bounds=git.bounds(), timeout_s=300, stall_s=1.5).timed_out
    assert children.run(work, bounds=git.bounds(), timeout_s=300, stall_s=1.5).stdout == b"done"


def test_output_is_bounded() -> None:
    def chatter() -> None:
        for _ in range(100):
            os.write(1, b"x" * 100_000)

    done = children.run(chatter, bounds=git.bounds(), timeout_s=60, output_bytes=1000)
    assert done.ok and len(done.stdout) == 1000


def test_tick_is_called_while_itruns() -> None:
    ticks: list[float] = []
    children.run(
        lambda: time.sleep(2.5),
        bounds=git.bounds(),
        timeout_s=60,
        tick=lambda: ticks.append(time.monotonic()),
    )
    assert len(ticks) >= 2


def breaks() -> None:
    raise KeyError("a fault of ours")


def test_child_that_breaks_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o600)
    forked.log_to(log)
    try:
        done = children.run(breaks, bounds=git.bounds(), timeout_s=20)
    finally:
        forked.log_to(2)
        os.close(log)
    said = (tmp_path / "log").read_text()
    assert done.status == forked.CRASHED and done.stdout == b""
    assert "in breaks" in said and "KeyError: 'a fault of ours'" in said


def eats_memory() -> None:
    bytearray(1 << 30)


def eats_processor() -> None:
    while True:
        pass


def fills_disk() -> None:
    with open(os.path.join(os.environ["CHILD_FOLDER"], "big"), "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))


def reads_secrets() -> None:
    with open("/etc/shadow", "rb") as file:
        file.read()


def writes_elsewhere() -> None:
    with open("/tmp/paas-child-was-here", "wb") as file:
        file.write(b"x")


def calls_home() -> None:
    socket.create_connection(("127.0.0.1", int(os.environ["CHILD_PORT"])), timeout=5)


def signals_others() -> None:
    os.kill(os.getppid(), signal.SIGCONT)


HOSTILE = [
    eats_memory,
    eats_processor,
    fills_disk,
    reads_secrets,
    writes_elsewhere,
    calls_home,
    signals_others,
]


@pytest.mark.parametrize("action", HOSTILE, ids=lambda action: action.__name__)
def test_reach_is_bounded(
    action: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("CHILD_FOLDER", str(tmp_path))
        monkeypatch.setenv("CHILD_PORT", str(listener.getsockname()[1]))
        bounds = git.bounds(write=[tmp_path], memory_bytes=256 << 20, file_bytes=16 << 20, cpu_s=1)
        done = children.run(action, bounds=bounds, timeout_s=60)
    assert not done.ok and not done.timed_out
    assert not Path("/tmp/paas-child-was-here").exists()


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"

    def spawn() -> None:
        started = subprocess.Popen(["/usr/bin/sleep", "300"])
        mark.write_text(str(started.pid))
        time.sleep(300)

    assert children.run(spawn, bounds=git.bounds(write=[tmp_path]), timeout_s=3).timed_out
    assert _ends(int(mark.read_text()))


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    mark = tmp_path / "pid"

    def wait() -> None:
        mark.write_text(str(os.getpid()))
        time.sleep(300)

    parent = os.fork()
    if parent == 0:
        try:
            children.run(wait, bounds=git.bounds(write=[tmp_path]), timeout_s=300)
        finally:
            os._exit(0)
    deadline = time.monotonic() + 20
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert _ends(int(mark.read_text()))


def _ends(pid: int) -> bool:
    """A killed process ends soon, and not at once."""
    deadline = time.monotonic() + 20
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not runs(pid)


def test_nothing_of_our_environment_reaches_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TRACE", "1")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    done = children.run(["/usr/bin/env"], bounds=git.bounds(), timeout_s=20)
    names = {line.partition(b"=")[0].decode() for line in done.stdout.splitlines()}
    assert names == set(git.ENVIRONMENT)


def test_command_over_ssh_reaches_no_file_of_the_platform(tmp_path: Path) -> None:
    """What the CLI's process may touch after it was shut in: its code, and nothing below the home."""
    (tmp_path / "id").write_text("0123ab")
    (tmp_path / "secret").write_text("x")
    ctx = GitContext(
        home=tmp_path,
        api_socket=tmp_path / "api.sock",
        repositories=Repositories(tmp_path / "repos"),
        sources=Sources(tmp_path / "sources"),
        limits=Limits(),
        host_key=b"",
        host_key_folder=tmp_path,
    )
    pid = os.fork()
    if pid == 0:
        try:
            jobs.shut_in(ctx)
            assert (tmp_path / "id").read_text() == "0123ab"
            for act in (
                lambda: (tmp_path / "secret").read_text(),
                lambda: (tmp_path / "new").write_text("x"),
            ):
                with contextlib.suppress(PermissionError):
                    act()
                    os._exit(1)
            subprocess.run([sys.executable, "-P", "-c", "import paas.cli.main"], check=True)
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_client_commands_import_nothing_of_this() -> None:
    """The CLI starts without paramiko and dulwich."""
    program = (
        "import sys, paas.cli.main; print([name for name in ('paramiko', 'dulwich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
