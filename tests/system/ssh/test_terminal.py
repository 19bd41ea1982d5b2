"""`ssh paas@host run …` with a real terminal: size, resize, Ctrl-C, end of input, hang-up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from harness.platform import Platform, wait_for

APP = "terminal"
Step = tuple[bytes, bytes | Callable[[paramiko.Channel], object]]


@pytest.fixture(scope="module")
def login(platform: Platform) -> Iterator[paramiko.Transport]:
    """A connection of its own below the app's owner."""
    platform.deploy({"index.html": "<p>one</p>"}, APP)
    opened = paramiko.Transport(("127.0.0.1", platform.ssh))
    opened.start_client(timeout=20)
    opened.auth_publickey("paas", paramiko.Ed25519Key(filename=str(platform.key)))
    yield opened
    opened.close()


def converse(login: paramiko.Transport, command: str, steps: list[Step]) -> tuple[int, bytes]:
    """Run a command in a terminal of 100 columns and 40 rows: wait for each text, then do what follows."""
    channel = login.open_session(timeout=20)
    channel.get_pty("xterm", width=100, height=40)
    channel.exec_command(command.encode())
    channel.settimeout(20)
    said = b""
    for text, act in steps:
        while text not in said:
            part = channel.recv(4096)
            assert part, said
            said += part
        if callable(act):
            act(channel)
        else:
            channel.send(act)
    while part := channel.recv(4096):
        said += part
    return channel.recv_exit_status(), said


def test_size_resize_name_and_exit_status(login: paramiko.Transport) -> None:
    status, said = converse(
        login,
        f"run -a {APP} -- sh",
        [
            (b"$ ", b"stty size; echo $TERM\n"),
            (b"40 100\r\nxterm\r\n", lambda channel: channel.resize_pty(120, 50)),
            (b"", b"until stty size | grep 50; do sleep 0.05; done\n"),
            (b"50 120\r\n", b"exit 5\n"),
        ],
    )
    assert status == 5, said


def test_ctrl_c_reaches_the_command(login: paramiko.Transport) -> None:
    status, said = converse(
        login,
        f"run -a {APP} -- sh -c 'trap \"echo caught; exit 4\" INT; echo ready; while :; do sleep 0.1; done'",
        [(b"\nready", b"\x03")],
    )
    assert status == 4 and b"caught" in said


def test_pipes_without_a_terminal(platform: Platform, login: paramiko.Transport) -> None:
    channel = login.open_session(timeout=20)
    channel.exec_command(f"run -a {APP} -- sh -c 'cat; echo err >&2; exit 3'".encode())
    data = bytes(range(256)) * 4096
    channel.sendall(data)
    channel.shutdown_write()
    out = b""
    while part := channel.recv(65536):
        out += part
    assert channel.recv_exit_status() == 3
    assert out == data
    assert channel.recv_stderr(4096) == b"err\n"


@pytest.mark.parametrize(
    ("command", "text"),
    [(f"run -a {APP} -- sh -c 'echo up; exec sleep 300'", b"up"), (f"logs -t -a {APP}", b"+00:00 ")],
)
def test_hang_up_ends_the_command(
    platform: Platform, login: paramiko.Transport, command: str, text: bytes
) -> None:
    channel = login.open_session(timeout=20)
    channel.exec_command(command.encode())
    channel.settimeout(20)
    said = b""
    while text not in said:
        part = channel.recv(4096)
        assert part, said
        said += part
    channel.close()
    wait_for(lambda: not _commands(platform))
    wait_for(lambda: [item["type"] for item in platform.json("ps", "-a", APP)] == ["web"])


def _commands(platform: Platform) -> list[bytes]:
    """The command lines of the CLI's processes that SSH clients of this platform started."""
    home, found = f"PAAS_HOME={platform.home}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environ = (process / "environ").read_bytes().split(b"\0")
            if home in environ and any(word.startswith(b"PAAS_SSH_PROOF=") for word in environ):
                found.append((process / "cmdline").read_bytes())
    return found


def test_the_words_of_a_command_are_not_for_every_user_of_the_machine(
    platform: Platform, login: paramiko.Transport
) -> None:
    channel = login.open_session(timeout=20)
    channel.exec_command(f"run -a {APP} -e SECRET=hunter2 -- sh -c 'echo up; exec sleep 300'".encode())
    channel.settimeout(20)
    while b"up" not in channel.recv(4096):
        pass
    lines = [line for line in _commands(platform) if line]
    assert lines
    assert not any(b"hunter2" in line or APP.encode() in line for line in lines)
    channel.close()
    wait_for(lambda: not _commands(platform))
