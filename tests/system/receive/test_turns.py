"""Two at once, Ctrl-C, lost connections, killed daemons: who gets which answer, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from harness.git import Client, GitDaemon
from harness.git_api import Deploying, succeeds


@pytest.fixture
def daemon(own_daemon: GitDaemon) -> GitDaemon:
    return own_daemon


@pytest.fixture
def ann(daemon: GitDaemon, root: Path) -> Client:
    client = Client(daemon, root / "ann", "ann")
    client.start_tree()
    return client


class Slow:
    """A deployment that goes on until it is let go, or the client hangs up."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.cancelled = threading.Event()
        self.outcome: dict[str, Any] = {"result": {}}

    def __call__(self, push: Deploying) -> dict[str, Any]:
        push.emit({"line": "-----> Building"})
        self.begun.set()
        while not self.go.wait(0.05):
            if push.hung_up():
                self.cancelled.set()
                return {"error": {"code": "cancelled", "message": "Cancelled."}}
        return self.outcome


@pytest.fixture
def slow(daemon: GitDaemon) -> Slow:
    deploy = Slow()
    daemon.platform.deploy = deploy
    return deploy


def second_client(daemon: GitDaemon, ann: Client, root: Path) -> Client:
    """Ann at another desk: the same app, a working tree of its own."""
    other = Client(daemon, root / "desk", "ann")
    ann.git("clone", "-q", str(ann.tree), str(other.tree))
    other.git("remote", "add", "paas", other.url("hello"))
    return other


def until_said(process: subprocess.Popen[str], text: str) -> str:
    """Read on until the push says this."""
    assert process.stdout is not None
    said = ""
    while text not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


def test_second_push_is_told_who_is_at_work_and_waits(
    daemon: GitDaemon, ann: Client, root: Path, slow: Slow
) -> None:
    daemon.platform.app("hello")
    other = second_client(daemon, ann, root)
    newer = other.commit("newer")
    first = ann.start_push()
    assert slow.begun.wait(20)
    second = other.start_push()
    until_said(second, "A push by ann since")
    slow.go.set()
    assert first.wait(20) == 0
    said = second.communicate(timeout=20)[0]
    assert second.returncode == 0, said
    assert daemon.platform.apps["hello"]["live_commit"] == newer
    assert newer in other.git("ls-remote", "paas").stdout


def test_second_push_that_lacks_the_first_is_refused_not_lost(
    daemon: GitDaemon, ann: Client, root: Path, slow: Slow
) -> None:
    daemon.platform.app("hello")
    other = second_client(daemon, ann, root)
    mine, _theirs = ann.commit("mine"), other.commit("theirs")
    first = ann.start_push()
    assert slow.begun.wait(20)
    second = other.start_push()
    until_said(second, "waiting for it")
    slow.go.set()
    assert first.wait(20) == 0
    said = second.communicate(timeout=20)[0]
    assert second.returncode == 1
    assert "went live meanwhile, and this push does not contain it." in said
    assert daemon.platform.apps["hello"]["live_commit"] == mine
    assert len(daemon.platform.pushes) == 1


def test_nowait_is_refused_at_once(daemon: GitDaemon, ann: Client, root: Path, slow: Slow) -> None:
    daemon.platform.app("hello")
    other = second_client(daemon, ann, root)
    first = ann.start_push()
    assert slow.begun.wait(20)
    done = other.push("-o", "nowait", "paas", "main")
    assert done.returncode == 1
    assert "A push by ann since" in done.stderr and "Push rejected: busy" in done.stderr
    slow.go.set()
    assert first.wait(20) == 0


def test_two_first_pushes_make_one_app(daemon: GitDaemon, ann: Client, root: Path, slow: Slow) -> None:
    other = second_client(daemon, ann, root)
    pushes = [ann.start_push(), other.start_push()]
    assert slow.begun.wait(20)
    slow.go.set()
    assert [push.wait(20) for push in pushes] == [0, 0]
    assert list(daemon.platform.apps) == ["hello"]
    assert daemon.settled()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_f12_interrupted_while_building(
    daemon: GitDaemon, ann: Client, slow: Slow, number: signal.Signals
) -> None:
    push = ann.start_push()
    assert slow.begun.wait(20)
    os.killpg(push.pid, number)
    push.wait(20)
    assert slow.cancelled.wait(20), "the api hears that the client is gone"
    assert daemon.settled()
    assert ann.git("ls-remote", "paas").stdout == ""
    daemon.platform.deploy = succeeds
    assert ann.push().returncode == 0, "no lock is left"


class CuttingProxy:
    """Passes a connection on until the client has sent so many bytes, then resets both ends."""

    def __init__(self, port: int, after: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._target, self._left = port, after
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        threading.Thread(target=self._pass_back, args=(server, client), daemon=True).start()
        while self._left > 0 and (data := client.recv(min(65536, self._left))):
            self._left -= len(data)
            server.sendall(data)
        for sock in (client, server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._listener.close()

    @staticmethod
    def _pass_back(server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass


def test_f12_connection_cut_anywhere(daemon: GitDaemon, ann: Client) -> None:
    (ann.tree / "ballast").write_bytes(os.urandom(2 << 20))
    ann.commit("ballast")
    for tenth in range(10):
        proxy = CuttingProxy(daemon.port, 6000 + tenth * (2 << 20) // 10)
        done = ann.push(f"ssh://paas@127.0.0.1:{proxy.port}/hello", "main")
        assert done.returncode != 0
    assert daemon.settled(), daemon.left_overs()
    assert daemon.platform.pushes == [] and daemon.platform.apps == {}
    assert ann.push().returncode == 0


def test_f1_daemon_killed_while_building(daemon: GitDaemon, ann: Client, slow: Slow) -> None:
    push = ann.start_push()
    assert slow.begun.wait(20)
    daemon.restart()
    assert push.wait(20) != 0
    assert slow.cancelled.wait(20)
    assert daemon.settled(), "what the killed daemon left is swept"
    daemon.platform.deploy = succeeds
    assert ann.push().returncode == 0


def test_branch_is_brought_up_to_what_serves(daemon: GitDaemon, ann: Client, slow: Slow) -> None:
    """A crash between the switch of traffic and the moving of the ref repairs itself at the next connection."""
    push = ann.start_push()
    assert slow.begun.wait(20)
    daemon.platform.apps["hello"]["live_commit"] = commit = ann.git("rev-parse", "HEAD").stdout.strip()
    os.killpg(push.pid, signal.SIGKILL)
    push.wait(20)
    assert slow.cancelled.wait(20) and daemon.settled()
    assert ann.git("ls-remote", "--heads", "paas").stdout == f"{commit}\trefs/heads/main\n"
    assert "Everything up-to-date" in ann.push().stderr


def test_api_that_breaks_off_after_the_switch_is_asked_again(daemon: GitDaemon, ann: Client) -> None:
    def deploy(push: Deploying) -> dict[str, Any]:
        daemon.platform.apps["hello"]["live_commit"] = push.request["commit"]
        raise ConnectionError("the api dies")

    daemon.platform.deploy = deploy
    done = ann.push()
    assert done.returncode == 0, done.stderr


def test_api_that_breaks_off_before_the_switch_is_told(daemon: GitDaemon, ann: Client) -> None:
    def deploy(push: Deploying) -> dict[str, Any]:
        raise ConnectionError("the api dies")

    daemon.platform.deploy = deploy
    done = ann.push()
    assert done.returncode == 1
    assert "The platform's api broke off" in done.stderr and "nothing was changed." in done.stderr


def test_fault_of_the_platform_is_not_told_as_the_clients(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    daemon.platform.apps["hello"]["id"] = "no id"
    done = ann.push()
    assert done.returncode == 128
    assert "Internal error." in done.stderr and "protocol" not in done.stderr
    assert "ValueError: not an app id: 'no id'" in daemon.log() and "Traceback" in daemon.log()


def test_push_while_the_api_restarts_waits_for_it(daemon: GitDaemon, ann: Client) -> None:
    daemon.stop_api()
    push = ann.start_push()
    time.sleep(1)
    daemon.start_api()
    said = push.communicate(timeout=60)[0]
    assert push.returncode == 0, said


def test_repositories_of_gone_apps_are_removed(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    folder = daemon.repository("hello")
    assert folder.is_dir()
    daemon.platform.apps.clear()
    daemon.restart()
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sorted(os.listdir(daemon.layout.repos)) == ["incoming", "receiving"]


def size_of(repository: Path) -> int:
    return sum(path.stat().st_size for path in (repository / "objects").rglob("*") if path.is_file())


def test_objects_of_a_push_that_failed_are_gone_with_it(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    repository = daemon.repository("hello")
    before = size_of(repository)
    daemon.platform.deploy = lambda push: {
        "error": {"code": "deploy_failed", "message": "It does not start."}
    }
    for _ in range(3):
        (ann.tree / "ballast").write_bytes(os.urandom(1 << 20))
        ann.commit("ballast")
        assert ann.push().returncode == 1
        assert size_of(repository) == before
    daemon.platform.deploy = succeeds
    assert ann.push().returncode == 0
    assert size_of(repository) > before + (3 << 20), "and come again with the next one"


def test_what_no_branch_reaches_is_left_out_when_it_is_old(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    gone = ann.git("rev-parse", "HEAD").stdout.strip()
    ann.git("commit", "--amend", "-q", "-m", "another history")
    assert ann.push("--force", "paas", "main").returncode == 0
    (ann.tree / "canary.txt").write_text("beside")
    beside = ann.commit("a canary")
    assert ann.push("-o", "canary=10", "paas", "main").returncode == 0
    bare = daemon.repository("hello")

    def has(commit: str) -> bool:
        words = ["git", "-c", "safe.directory=*", "--git-dir", str(bare), "cat-file", "-e", commit]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def repacked_when_old(days: int) -> None:
        for path in (*(bare / "objects" / "pack").iterdir(), bare / "config", bare / "repacked"):
            if path.exists():
                os.utime(path, times=(time.time() - days * 86400,) * 2)
        daemon.restart()
        deadline = time.monotonic() + 20
        while not (bare / "repacked").exists() or time.time() - (bare / "repacked").stat().st_mtime > 3600:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert has(gone) and has(beside)
    assert beside not in ann.git("ls-remote", "paas").stdout, "a canary is no branch"
    repacked_when_old(8)
    assert not has(gone) and has(beside)
    daemon.platform.apps["hello"]["live_commit"] = beside
    assert ann.git("ls-remote", "--heads", "paas").stdout == f"{beside}\trefs/heads/main\n"


@pytest.mark.long
def test_many_packs_become_one(daemon: GitDaemon, ann: Client) -> None:
    for number in range(21):
        ann.commit(f"commit {number}")
        assert ann.push().returncode == 0
    packs = daemon.repository("hello") / "objects" / "pack"
    assert len(list(packs.glob("*.pack"))) > 19
    daemon.restart()
    deadline = time.monotonic() + 20
    while len(list(packs.glob("*.pack"))) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(packs.glob("*.pack"))) == 1
    ann.commit("after")
    assert ann.push().returncode == 0


@pytest.mark.long
def test_f13_many_at_once_lose_nothing(daemon: GitDaemon, ann: Client, root: Path) -> None:
    """Everybody's answer is true: what was acknowledged is in what serves, in one line of history."""
    assert ann.push().returncode == 0
    acknowledged: list[str] = []
    answers: list[int] = []

    def work(desk: int) -> None:
        client = Client(daemon, root / f"desk{desk}", "ann")
        ann.git("clone", "-q", str(ann.tree), str(client.tree))
        client.git("remote", "add", "paas", client.url("hello"))
        for turn in range(8):
            (client.tree / f"{desk}-{turn}").write_text("x")
            client.commit(f"{desk}-{turn}")
            for _ in range(60):
                answers.append(client.push().returncode)
                if answers[-1] == 0:
                    acknowledged.append(f"{desk}-{turn}")
                    break
                client.git("pull", "-q", "--rebase", "paas", "main", check=False)

    desks = [threading.Thread(target=work, args=(desk,)) for desk in range(5)]
    for desk in desks:
        desk.start()
    for desk in desks:
        desk.join()
    assert len(acknowledged) == 40 and set(answers) <= {0, 1}
    ann.git("fetch", "-q", "paas")
    history = ann.git("log", "--format=%s", "paas/main").stdout.split()
    assert sorted(history) == sorted([*acknowledged, "first"])
    assert ann.git("log", "--merges", "--format=%s", "paas/main").stdout == ""
    head = ann.git("rev-parse", "paas/main").stdout.strip()
    assert daemon.platform.apps["hello"]["live_commit"] == head
    deployed = [push.request["commit"] for push in daemon.platform.pushes]
    order = ann.git("rev-list", "--reverse", "paas/main").stdout.split()
    assert deployed == [commit for commit in order if commit in deployed]
    assert daemon.settled()


@pytest.mark.long
def test_f12_interrupted_at_any_time_of_a_deployment(daemon: GitDaemon, ann: Client) -> None:
    """Twenty pushes, each killed a little later than the one before; the next one always works."""

    def deploy(push: Deploying) -> dict[str, Any]:
        for number in range(10):
            push.emit({"line": f"-----> Step {number}"})
            if push.hung_up():
                return {"error": {"code": "cancelled", "message": "Cancelled."}}
            time.sleep(0.02)
        return {"result": {}}

    daemon.platform.deploy = deploy
    for number in range(20):
        commit = ann.commit(f"commit {number}")
        push = ann.start_push()
        time.sleep(0.02 * number)
        os.killpg(push.pid, signal.SIGINT)
        push.wait(20)
        done = ann.push()
        assert done.returncode == 0, done.stderr + daemon.log()
        assert daemon.platform.apps["hello"]["live_commit"] == commit
    assert daemon.settled(), daemon.left_overs()
