"""A host that only has a name server on loopback: instances ask the relay on the gateway's address."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from runtime.net import dns, upkeep
from runtime.net.network import Network
from runtime.reactor import Reactor

NOBODY = 65534
GATEWAY = IPv4Address("10.199.48.1")
QUESTION = b"\x12\x34" + b"question".ljust(18, b".")


@pytest.fixture
def host() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert libc.unshare(0x40000000) == 0
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    yield
    assert libc.setns(home, 0x40000000) == 0
    os.close(home)


@pytest.fixture
def server(host: None) -> Iterator[list[bytes]]:
    """The host's own name server on 127.0.0.53: it answers with the question turned round."""
    asked: list[bytes] = []
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(("127.0.0.53", 53))
    stream = socket.create_server(("127.0.0.53", 53))

    def answer_datagrams() -> None:
        while True:
            question, client = datagram.recvfrom(2000)
            if question == b"stop":
                return
            asked.append(question)
            if b"silent" not in question:
                datagram.sendto(question[::-1], client)

    def answer_streams() -> None:
        while True:
            peer, _ = stream.accept()
            with peer:
                question = peer.recv(2000)
                if question == b"stop":
                    return
                peer.sendall(question[::-1])

    threads = [threading.Thread(target=answer_datagrams), threading.Thread(target=answer_streams)]
    for thread in threads:
        thread.start()
    yield asked
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"stop", ("127.0.0.53", 53))
    with socket.create_connection(("127.0.0.53", 53)) as last_stream:
        last_stream.sendall(b"stop")
    for thread in threads:
        thread.join()
    datagram.close()
    stream.close()


@pytest.fixture
def relay(server: list[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = dns.start(GATEWAY, uid=NOBODY, gid=NOBODY, upstream=["127.0.0.53"])
    subprocess.run(["ip", "addr", "add", f"{GATEWAY}/32", "dev", "lo"], check=True)
    yield process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


def _client() -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((str(GATEWAY), 53))
    client.settimeout(10)
    return client


def _ids(process: subprocess.Popen[bytes]) -> list[str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return [line.split(":")[1].split()[0] for line in lines if line.startswith(("Uid:", "Gid:", "CapEff:"))]


def test_questions_are_answered_by_datagram_and_stream(relay: subprocess.Popen[bytes]) -> None:
    with _client() as client:
        client.send(QUESTION)
        assert client.recv(2000) == QUESTION[::-1]
    with socket.create_connection((str(GATEWAY), 53), timeout=10) as peer:
        peer.sendall(QUESTION)
        assert peer.recv(2000) == QUESTION[::-1]
    assert _ids(relay) == [str(NOBODY), str(NOBODY), "0" * 16]


def test_unanswered_questions_hold_up_nobody_else(
    relay: subprocess.Popen[bytes], server: list[bytes]
) -> None:
    with _client() as flood:
        for number in range(200):
            flood.send(QUESTION + b"silent" + bytes([number]))
        deadline = time.monotonic() + 10
        while len(server) < 64:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.9", 0))
        other.settimeout(10)
        other.sendto(QUESTION, (str(GATEWAY), 53))
        assert other.recv(2000) == QUESTION[::-1]
    assert len([question for question in server if b"silent" in question]) == 64


def test_garbage_is_not_passed_on(relay: subprocess.Popen[bytes], server: list[bytes]) -> None:
    with _client() as client:
        client.send(b"short")
        client.send(QUESTION)
        assert client.recv(2000) == QUESTION[::-1]
    assert server == [QUESTION]


def test_the_module_imports_nothing_heavy() -> None:
    code = "import runtime.net.dns, sys; print('asyncio' in sys.modules, 'ctypes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_relay_that_dies_is_started_again(server: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = dns.start

    def recorded(gateway: IPv4Address, *, uid: int, gid: int) -> subprocess.Popen[bytes]:
        started.append(start(gateway, uid=uid, gid=gid, upstream=["127.0.0.53"]))
        return started[-1]

    monkeypatch.setattr(dns, "start", recorded)
    subprocess.run(["ip", "addr", "add", f"{GATEWAY}/32", "dev", "lo"], check=True)
    network = Network("dddddd", IPv4Network("10.199.48.0/20"), nameservers=())
    reactor = Reactor()
    upkeep.keep_relay(reactor, network)
    started[0].kill()
    deadline = time.monotonic() + 20
    while len(started) < 2:
        assert time.monotonic() < deadline
        reactor.turn()
    with _client() as client:
        client.send(QUESTION)
        assert client.recv(2000) == QUESTION[::-1]
    stdin = started[1].stdin
    assert stdin is not None
    stdin.close()
    assert started[1].wait(20) == 0


def test_no_relay_runs_where_the_hosts_servers_can_be_reached() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    network = Network("dddddd", IPv4Network("10.199.48.0/20"), nameservers=(IPv4Address("192.0.2.53"),))
    upkeep.keep_relay(Untouched(), network)  # type: ignore[arg-type]
