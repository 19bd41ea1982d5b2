"""Whoever has taken over the process that speaks SSH before login: what he can do, and for whom he can speak.

The client sends Python that this process evaluates (harness/hijacked.py); all the rest is the daemon's own.
"""

from __future__ import annotations

import ast
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from harness.git import Client, GitDaemon, family, open_folder
from harness.platform import wait_for
from harness.proofs import public_key, signed_by

from paas.keys.publickey import parse

PROGRAM = str(Path(__file__).resolve().parents[2] / "harness" / "hijacked.py")


class Intruder:
    """One connection to a daemon whose speaker does what is sent."""

    def __init__(self, daemon: GitDaemon) -> None:
        self._sock = socket.create_connection(("127.0.0.1", daemon.port), 30)
        self._sock.sendall(b"SSH-2.0-intruder\r\n")
        self._lines = self._sock.makefile("rb")
        assert self._lines.readline().startswith(b"SSH-2.0-")

    def does(self, text: str) -> str:
        self._sock.sendall(text.encode() + b"\n")
        return self._lines.readline().decode().rstrip("\n")

    def gets(self, text: str) -> Any:
        return ast.literal_eval(self.does(text))

    def is_out(self, text: str) -> bool:
        """Whether doing this ends the connection."""
        try:
            return self.does(text) == ""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._sock.close()


@pytest.fixture(scope="module")
def hijacked() -> Iterator[GitDaemon]:
    with open_folder() as root:
        running = GitDaemon(root, program=(PROGRAM,))
        for name in ("ann", "eve"):
            key = parse(public_key(name))
            running.platform.keys[key.fingerprint] = name, key.text
        yield running
        running.close()


@pytest.fixture
def enter(hijacked: GitDaemon) -> Iterator[Callable[[], Intruder]]:
    opened: list[Intruder] = []

    def make() -> Intruder:
        opened.append(Intruder(hijacked))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


OS, SOCKET = "__import__('os')", "__import__('socket')"
LIBC = "__import__('ctypes').CDLL(None, use_errno=True)"

REFUSED = {
    "a socket": f"{SOCKET}.socket({SOCKET}.AF_UNIX)",
    "a pair of sockets": f"{SOCKET}.socketpair()",
    "the network": f"{SOCKET}.socket({SOCKET}.AF_INET)",
    "the client's socket to somebody else": "sock.sendto(b'x', 0x20000000, ('127.0.0.1', 22))",
    "descriptors to others": f"{SOCKET}.send_fds(sock, [b'x'], [0])",
    "any file": f"{OS}.open('/etc/passwd', 0)",
    "its own memory as a file": f"{OS}.open('/proc/self/mem', 2)",
    "its parent's memory": f"{OS}.open('/proc/%d/mem' % {OS}.getppid(), 2)",
    "names of files": f"{OS}.listdir('/proc')",
    "whether a file is there": f"{OS}.stat('/etc/passwd')",
    "a file to be": f"{OS}.mkdir('/tmp/x')",
    "a file without a name": f"{OS}.memfd_create('x')",
    "a signal to its parent": f"{OS}.kill({OS}.getppid(), 0)",
    "a signal to everybody": f"{OS}.kill(-1, 0)",
    "a signal by way of a descriptor": f"__import__('fcntl').fcntl(sock, 8, {OS}.getppid())",
    "its parent's limits": f"__import__('resource').prlimit({OS}.getppid(), 7, (9, 9))",
    "a process": f"{OS}.fork()",
    "a program": f"{OS}.execv('/bin/true', ['true'])",
    "other ids": f"{OS}.setresuid(0, 0, 0)",
}  # fmt: skip


def test_it_reaches_nothing_but_its_client_and_its_monitor(
    hijacked: GitDaemon, enter: Callable[[], Intruder]
) -> None:
    intruder = enter()
    outcomes = {what: intruder.does(text) for what, text in REFUSED.items()}
    assert set(outcomes.values()) == {"EPERM"}, outcomes
    trace = f"{LIBC}.ptrace(16, {OS}.getppid(), None, None)"
    assert intruder.does(trace) == "-1"
    held = f"[n for n in range(3, 64) if {LIBC}.fcntl(n, 1) >= 0]"
    assert len(intruder.gets(held)) == 2


def test_no_process_that_lives_on_has_the_host_key(
    hijacked: GitDaemon, enter: Callable[[], Intruder]
) -> None:
    assert len(enter().gets("monitor.sign(bytes(32))")) > 64
    path = hijacked.layout.secrets / "ssh" / "host_ed25519"
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    raw, none = serialization.Encoding.Raw, serialization.NoEncryption()
    seed = key.private_bytes(raw, serialization.PrivateFormat.Raw, none)
    tree = connection(hijacked)
    assert not [pid for pid in tree if holds(pid, seed)]
    assert all(holds(pid, hijacked.listener.getsockname()[0].encode()) for pid in tree), "memory can be read"


def connection(daemon: GitDaemon) -> list[int]:
    """The accept loop, the monitor and the speaker of its only connection, when nothing else is under way."""
    wait_for(lambda: len(family(daemon.process.pid)) == 3)
    return family(daemon.process.pid)


def holds(pid: int, secret: bytes) -> bool:
    maps = Path(f"/proc/{pid}/maps").read_text()
    areas = [
        (int(a, 16), int(b, 16)) for a, b in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.MULTILINE)
    ]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in areas:
            memory.seek(start)
            if secret in (memory.read(end - start) or b""):
                return True
    return False


def proving(name: str, session: bytes, login: str = "paas") -> str:
    """The call by which the speaker hands on what `name` signed."""
    key = parse(public_key(name))
    blob = __import__("base64").b64decode(key.text.split()[1])
    signature = signed_by(name, session, login)
    module = "__import__('sys').modules['paas.ssh.control']"
    return f"monitor.prove({module}.SignedLogin({login!r}, 'ssh-ed25519', {blob!r}, {signature!r}))"


START = "__import__('sys').modules['paas.ssh.control'].CommandRequest({!r})"


def said(intruder: Intruder, command: bytes | None) -> bytes:
    """What a command that the monitor starts says."""
    number, streams = intruder.gets(f"monitor.start({START.format(command)})")
    assert intruder.does(f"monitor.wait({number})").isdigit()
    words: bytes = intruder.gets(f"[{OS}.read(n, 65536) for n in {streams[1:]!r}][1]")
    return words


def test_it_speaks_for_nobody_who_has_not_signed_this_session(
    hijacked: GitDaemon, enter: Callable[[], Intruder]
) -> None:
    """Ann's signatures for other sessions, even for a hash that the host key signed later, are worth nothing."""
    intruder = enter()
    first, later = os.urandom(32), os.urandom(32)
    blob = __import__("base64").b64decode(parse(public_key("ann")).text.split()[1])
    assert intruder.does(f"monitor.offer({blob!r})") == "True"
    for hash in (first, later):
        intruder.gets(f"monitor.sign({hash!r})")
    for session in (later, os.urandom(32), b""):
        assert intruder.does(proving("ann", session)) == "False"
    assert intruder.does(proving("mallory", first)) == "False"
    assert intruder.is_out(f"monitor.start({START.format(None)})")
    assert "event=nonsense" in hijacked.log() and "user='ann'" not in hijacked.log()


def test_after_a_login_it_speaks_for_that_user_alone(
    hijacked: GitDaemon, enter: Callable[[], Intruder]
) -> None:
    hijacked.platform.app("anns", owner="ann")
    intruder, session = enter(), os.urandom(32)
    intruder.gets(f"monitor.sign({session!r})")
    assert intruder.does(proving("eve", session)) == "True"
    assert b"Hello eve!" in said(intruder, None)
    assert b"There is no app anns" in said(intruder, b"git-upload-pack 'anns'")
    assert intruder.is_out(proving("ann", session)), "one login a connection"


NONSENSE = {
    "no hash": "monitor.sign(b'x' * 31)",
    "an unknown word": "monitor._ask(b'become', b'ann')",
    "a proof before the key exchange": "monitor.prove(__import__('sys').modules['paas.ssh.control'].SignedLogin('paas', 'ssh-ed25519', b'', b''))",
    "a proof that is none": "monitor._ask(b'prove', b'\\xff' * 9)",
    "bytes": "monitor._sock.send(b'\\xff\\x00') and monitor._ask(b'hangup', b'')",
    "endless questions": "[monitor.offer(b'x') for _ in range(1000)]",
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_is_never_asked_ends_the_connection(
    hijacked: GitDaemon, enter: Callable[[], Intruder], what: str
) -> None:
    intruder, before = enter(), len(hijacked.log())
    assert intruder.is_out(NONSENSE[what])
    assert "Traceback" not in hijacked.log()[before:]


def test_its_crashes_are_logged_and_look_like_nothing_else(
    hijacked: GitDaemon, enter: Callable[[], Intruder]
) -> None:
    intruder = enter()
    module = "__import__('sys').modules['paas.daemon.threads']"
    assert intruder.does(f"{module}.start('x', lambda: 1 / 0).join()") == "None"
    intruder.does("monitor._sock.send(b'event=crashed x\\ngit: event=login user=forged')")
    intruder.does("monitor.offer(b'')")  # what was sent before has been read when this is answered
    said = hijacked.log().splitlines()
    assert "  ZeroDivisionError: division by zero" in said
    assert "  git: event=login user=forged" in said
    assert intruder.is_out(
        "[monitor._sock.send(b'event=crashed x') for _ in range(20)] and monitor.offer(b'')"
    )


def test_a_speaker_that_stays_is_ended_with_its_monitor(
    hijacked: GitDaemon, enter: Callable[[], Intruder]
) -> None:
    """It closes the monitor's ear and keeps the client: nothing of the connection may live on."""
    intruder = enter()
    assert intruder.does("monitor._sock.fileno() > 0") == "True"
    assert intruder.is_out("[monitor._sock.shutdown(2), __import__('time').sleep(60)]")
    wait_for(lambda: family(hijacked.process.pid) == [hijacked.process.pid])


def test_real_speakers_are_confined_before_login(daemon: GitDaemon, ann: Client) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port), 30) as sock:
        sock.sendall(b"SSH-2.0-slow\r\n")
        while len(sock.recv(65536)) < 200:
            continue
        status = Path(f"/proc/{connection(daemon)[-1]}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert ann.ssh().returncode == 0
