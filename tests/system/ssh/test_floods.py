"""Floods of connections before and after the login: others are let in, and the daemon stays small.

The numbers are those of the threat table: G1 floods.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from harness.git import Client, GitDaemon, family


def open_from(source: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.bind((source, 0))
    sock.settimeout(10)
    sock.connect(("127.0.0.1", port))
    return sock


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


@pytest.fixture
def idle(daemon: GitDaemon) -> GitDaemon:
    """The daemon without any connection."""
    deadline = time.monotonic() + 60
    while family(daemon.process.pid)[1:] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert family(daemon.process.pid)[1:] == []
    return daemon


def test_g1_silent_connections_cost_no_process_and_lock_nobody_out(idle: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    before = idle.memory_bytes()
    held = [open_from(f"127.0.{number % 40 + 1}.9", idle.port) for number in range(600)]
    assert ann.ssh().returncode == 0
    assert len(family(idle.process.pid)[1:]) <= 3
    assert threads(idle.process.pid) == 1
    assert idle.memory_bytes() < before + (8 << 20)
    for sock in held:
        sock.close()


def test_g1_half_a_handshake_from_many_sources_is_bounded(idle: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    held = []
    for number in range(120):
        sock = open_from(f"127.0.1.{number % 20 + 1}", idle.port)
        sock.send(b"SSH-2.0-slow\r\n")
        held.append(sock)
    ann.commit("second")
    assert ann.push().returncode == 0, idle.log()
    assert len(family(idle.process.pid)[1:]) <= 2 * 16 + 4
    for sock in held:
        sock.close()


def test_g1_flood_from_one_source_leaves_room_for_others(idle: GitDaemon, ann: Client) -> None:
    assert ann.ssh().returncode == 0
    held = []
    for _ in range(200):
        sock = open_from("127.0.0.7", idle.port)
        with contextlib.suppress(OSError):
            sock.send(b"SSH-2.0-slow\r\n")
        held.append(sock)
    started = family(idle.process.pid)[1:]
    assert len(started) <= 2 * 8 + 2
    assert ann.ssh().returncode == 0
    for sock in held:
        sock.close()


def test_g1_burst_of_logins_from_one_place_is_served(daemon: GitDaemon, ann: Client) -> None:
    """A build server with many jobs: they wait for each other, none is turned away."""
    command = [*ann.ssh_words, "-p", str(daemon.port), "paas@127.0.0.1"]
    ann.ssh()
    burst = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(30)]
    assert [each.communicate(timeout=60)[1].startswith(b"Hello ann!") for each in burst] == [True] * 30


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 4096,
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-" + b"x" * 8192,
        b"SSH-2.0-x\r\n" + struct.pack(">I", 300 << 20) + bytes(1 << 20),
        b"SSH-2.0-x\r\n" + struct.pack(">I", 0) + bytes(4096),
        b"SSH-2.0-x\r\n" + b"\xff" * 65536,
    ],
    ids=lambda data: ascii(data[:16]),
)
def test_g1_what_is_not_ssh_is_hung_up_on(daemon: GitDaemon, ann: Client, data: bytes) -> None:
    assert ann.ssh().returncode == 0
    before = daemon.memory_bytes()
    sock = open_from("127.0.0.1", daemon.port)
    with contextlib.suppress(OSError):
        sock.sendall(data)
        while sock.recv(65536):
            pass
    sock.close()
    assert daemon.memory_bytes() < before + (4 << 20)
    assert ann.ssh().returncode == 0
    assert "Traceback" not in daemon.log() and "Exception" not in daemon.log()


def test_g1_version_line_byte_by_byte_is_read_to_its_end(daemon: GitDaemon, ann: Client) -> None:
    """And does not make the accept loop spin meanwhile."""
    sock = open_from("127.0.0.1", daemon.port)
    assert sock.recv(64).startswith(b"SSH-2.0-")
    used = _cpu_ticks(daemon.process.pid)
    for byte in b"SSH-2.0-slow\r\n":
        sock.send(bytes([byte]))
        time.sleep(0.05)
    assert len(sock.recv(65536)) > 100, "the key exchange begins"
    assert _cpu_ticks(daemon.process.pid) - used < 20
    sock.close()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.long
def test_g1_people_push_on_during_a_flood(daemon: GitDaemon, ann: Client) -> None:
    """Half a minute of connections that greet and stall, from many places, again and again."""
    assert ann.push().returncode == 0
    over = threading.Event()
    opened = []

    def flood(place: int) -> None:
        while not over.is_set():
            held = []
            for number in range(20):
                with contextlib.suppress(OSError):
                    sock = open_from(f"127.0.3.{place * 20 + number % 20 + 1}", daemon.port)
                    sock.send((b"", b"SSH-2.0-slow\r\n", b"SSH-2.0-x\r\n" + bytes(100))[number % 3])
                    held.append(sock)
            opened.append(len(held))
            over.wait(0.2)
            for sock in held:
                sock.close()

    places = [threading.Thread(target=flood, args=(place,)) for place in range(4)]
    for place in places:
        place.start()
    try:
        until = time.monotonic() + 30
        pushed = 0
        while time.monotonic() < until:
            ann.commit("more")
            assert ann.push().returncode == 0, daemon.log()
            pushed += 1
            assert len(family(daemon.process.pid)[1:]) <= 2 * 16 + 8
    finally:
        over.set()
        for place in places:
            place.join()
    assert pushed > 0 and sum(opened) > 100
    assert threads(daemon.process.pid) == 1
