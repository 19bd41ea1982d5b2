"""The handshake of spawner, shim and child, the test being the spawner: what each says when another fails or goes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from harness.engine import BASE, LOG_GROUP, LOG_USER, ended, forked

from runtime.cgroup import Group
from runtime.container import shim
from runtime.container.child import GO, READY, Launch, Streams, run_child
from runtime.container.engine import Engine
from runtime.container.logs import Journal
from runtime.container.mounts import Bind
from runtime.container.rootfs import CgroupView, Plan
from runtime.kernel.poll import readable
from runtime.spec import Box, Process

BOX = Box(("sha256:" + "a" * 64,), Process(("x",)), BASE, network=False)


@pytest.fixture
def launch(engine: Engine, tmp_path: Path) -> Iterator[Launch]:
    """A launch whose upper folder is no mount: it fails when the overlay is made."""
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    writing = os.open("/dev/null", os.O_WRONLY)
    yield Launch(
        box=BOX,
        plan=Plan(BASE, BOX.resources.memory_bytes),
        stage=engine.stage,
        layer_fds=(),
        upper_fd=folder,
        userns_fd=engine.userns.get(BASE),
        init_fd=engine.init_fd,
        start_fd=engine.start_fd,
        seccomp=engine.seccomp,
        endpoint=None,
        streams=Streams(None, writing, writing),
        report_fd=writing,
    )
    os.close(folder)
    os.close(writing)


def test_every_descriptor_of_a_launch_is_kept_open_for_the_child(launch: Launch) -> None:
    plan = Plan(BASE, 1, [CgroupView(101, "cpu")], [Bind(102, "x", 0)])
    full = replace(launch, plan=plan, layer_fds=(103, 104), streams=Streams(105, 106, 107), report_fd=108)
    kept = [full.upper_fd, full.userns_fd, full.init_fd, full.start_fd]
    assert sorted(full.descriptors()) == sorted([*kept, *range(101, 109)])
    assert sorted(replace(full, streams=None).descriptors()) == sorted([*kept, *range(101, 105), 108])


@pytest.fixture
def child(launch: Launch) -> Iterator[tuple[int, socket.socket]]:
    """A child on its way to become a container, and the shim's end of their socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = forked(lambda: (ours.close(), run_child(launch, theirs)))
    theirs.close()
    ours.settimeout(30)
    yield pid, ours
    ours.close()


@pytest.mark.parametrize("answer", [b"n", b""])
def test_a_child_waits_for_the_word_and_ends_without_it(
    child: tuple[int, socket.socket], answer: bytes
) -> None:
    pid, sync = child
    assert sync.recv(100) == READY
    if answer:
        sync.send(answer)
    else:
        sync.shutdown(socket.SHUT_WR)
    assert ended(pid) == 125 and sync.recv(100) == b""


def test_what_a_child_fails_at_is_one_message(child: tuple[int, socket.socket]) -> None:
    pid, sync = child
    assert sync.recv(100) == READY
    sync.send(GO)
    message = sync.recv(8192)
    assert message.startswith(b"!") and b"Errno" in message and sync.recv(100) == b""
    assert ended(pid) == 125


@dataclass
class Played:
    """A shim, and the spawner's end of its control socket."""

    pid: int
    control: socket.socket
    group: Group

    def answer(self) -> dict[str, object]:
        data = self.control.recv(8192)
        return json.loads(data) if data else {}

    def joined(self) -> int:
        """The pid of the child, which has joined its group."""
        pid = self.answer()["pid"]
        assert isinstance(pid, int)
        self.group.join(pid)
        return pid


@pytest.fixture
def play(launch: Launch, group: Group, tmp_path: Path) -> Iterator[Callable[[], Played]]:
    made: list[Played] = []
    logs = [os.open(tmp_path / f"{number}.log", os.O_CREAT | os.O_WRONLY) for number in (0, 1)]
    record = os.open(tmp_path / "exit.json", os.O_CREAT | os.O_WRONLY)

    def build() -> Played:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one = shim.Shim(
            replace(launch, streams=None, report_fd=-1), group, theirs, Journal("app", "web.1"), (logs[0], logs[1]), record, None,
            LOG_USER, LOG_GROUP,
        )  # fmt: skip
        pid = forked(lambda: shim.run(one))
        theirs.close()
        control.settimeout(30)
        made.append(Played(pid, control, group))
        return made[-1]

    yield build
    for played in made:
        played.control.close()
    for fd in (*logs, record):
        os.close(fd)


def test_a_shim_passes_on_what_its_child_fails_at(play: Callable[[], Played]) -> None:
    played = play()
    pid = played.joined()
    assert Path(f"/proc/{pid}/comm").read_text() == "paas-shim\n"
    played.control.send(GO)
    error = str(played.answer()["error"])
    assert error.startswith("shim: RuntimeError: ") and "Errno" in error
    assert ended(played.pid) == 0 and not Path(f"/proc/{pid}").exists()


def test_a_shim_whose_child_is_killed_says_so(play: Callable[[], Played]) -> None:
    played = play()
    pid = played.joined()
    pidfd = os.pidfd_open(pid)
    os.kill(pid, 9)
    assert readable(pidfd, 30)
    os.close(pidfd)
    played.control.send(GO)
    error = str(played.answer()["error"])
    assert error.startswith("shim: ") and ended(played.pid) == 0


@pytest.mark.parametrize("word", [b"stop", b""])
def test_a_shim_without_the_word_of_its_spawner_takes_its_child_with_it(
    play: Callable[[], Played], word: bytes
) -> None:
    played = play()
    pid = played.joined()
    if word:
        played.control.send(word)
        assert "error" in played.answer()
    else:
        played.control.close()
    assert ended(played.pid) == 0 and not Path(f"/proc/{pid}").exists()
