"""HTTP/2 as clients really come to it: over TLS, agreed upon by ALPN; with h2load, and a drain in between."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from harness import certificates
from harness.http2 import Visitor, codes, served
from harness.router import ADDRESS, SECURE_PORT, Rig, SecureEnd
from harness.router_process import App, table, wait_until

from router.wire.h2wire import REFUSED_STREAM

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def rig(rig: Rig, tmp_path: Path) -> Rig:
    """A router with a certificate for app.test."""
    rig.serve_tls(tmp_path)
    file = certificates.put(tmp_path, "app.test")
    rig.more = {"certificates": [{"names": ["app.test"], "file": file}]}
    rig.set_table(("i1",))
    return rig


def client(rig: Rig, *protocols: str) -> SecureEnd:
    context = certificates.client_context()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return rig.secure_client(context=context).shake()


def test_alpn_decides_which_version_is_spoken(rig: Rig) -> None:
    for offered, spoken in (
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        ([], None),
    ):
        end = client(rig, *offered)
        assert end.tls.selected_alpn_protocol() == spoken
        if spoken == "h2":
            visitor = Visitor(rig, end)
            id = visitor.request()
            served(rig, OK)
            visitor.flush()
            assert visitor.answers[id].body == b"hello"
        else:
            end.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            served(rig, OK)
            assert end.read().endswith(b"hello")
        end.sock.close()
        rig.run()
    assert [entry.scheme for entry in rig.log()] == [b"h2", b"h2", b"https", b"https"]


def test_the_backend_is_told_of_https(rig: Rig) -> None:
    Visitor(rig, client(rig, "h2")).request()
    head = rig.backend.read()
    assert b"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: %d\r\n" % SECURE_PORT in head


def test_a_request_beside_others_counts_like_a_connection_of_its_client(rig: Rig) -> None:
    """A hundred requests on one connection would else cost a hundred times what its client may."""
    client_limit = rig.limit_clients(4)
    visitor = Visitor(rig, client(rig, "h2"))
    ids = [visitor.request() for _ in range(6)]
    assert [visitor.answers[id].reset for id in ids] == [None] * 4 + [REFUSED_STREAM] * 2
    assert len(rig.dialled) == 4
    assert not client_limit.add(ADDRESS)
    visitor.reset(ids[0])
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[ids[3]].body == b"hello"
    again = [visitor.request() for _ in range(3)]
    assert [visitor.answers[id].reset for id in again] == [None] * 2 + [REFUSED_STREAM]
    visitor.end.close()
    assert client_limit.count == 0
    assert [client_limit.add(ADDRESS) for _ in range(5)] == [True] * 4 + [False]


def test_large_bodies_go_through_tls_both_ways(rig: Rig) -> None:
    visitor = Visitor(rig, client(rig, "h2"))
    big = bytes(range(251)) * 8000
    id = visitor.request(b"/", method=b"POST", end=False)
    sent, got = 0, b""
    while sent < len(big):
        sent += visitor.upload(id, big[sent : sent + 40_000])
        got += rig.backend.take()
    visitor.h2.end_stream(id)
    visitor.flush()
    got += rig.backend.take()
    assert sum(int(size, 16) for size in re.findall(rb"\r\n([0-9a-f]+)\r\n(?=.)", got, re.DOTALL)) == len(big)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(big))
    view = memoryview(big)
    while view:
        try:
            view = view[rig.backend.sock.send(view) :]
        except BlockingIOError:
            visitor.flush()
    visitor.flush()
    assert (visitor.answers[id].body, visitor.answers[id].ended) == (big, True)


def test_a_goodbye_is_said_in_http_2_and_in_tls(rig: Rig) -> None:
    end = client(rig, "h2")
    Visitor(rig, end).request()
    rig.upkeep.start_drain()
    rig.advance(1)
    served(rig, OK)
    data = end.take()
    assert codes(data) == (0, {}) and data.endswith(b"hello")
    rig.advance(3)
    assert codes(end.read()) == (0, {})
    assert end.ended and end.closed


# a real worker


class Front(NamedTuple):
    """A router that speaks TLS."""

    port: int
    process: subprocess.Popen[bytes]
    apps: list[App]

    def accepts(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    apps = [App("one"), App("two")]
    file = certificates.put(tmp_path, "app.test")
    document: dict[str, Any] = table(1, apps) | {"certificates": [{"names": ["app.test"], "file": file}]}
    (tmp_path / "table.json").write_text(json.dumps(document))
    with socket.socket() as kept:  # holds the port, without listening
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        port = kept.getsockname()[1]
        argv = [sys.executable, "-P", "-m", "router", "--listen-tls", f"127.0.0.1:{port}"]
        argv += [
            "--table",
            str(tmp_path / "table.json"),
            "--files",
            str(tmp_path),
            "--log-dir",
            str(tmp_path),
        ]
        process = subprocess.Popen(argv, stderr=(tmp_path / "errors").open("wb"))
        front = Front(port, process, apps)
        try:
            wait_until(front.accepts)
            yield front
        finally:
            process.kill()
            process.wait()
            for app in apps:
                app.stop()
    assert (tmp_path / "errors").read_bytes() == b""


def load(port: int, requests: int, *words: str) -> list[str]:
    """The command that has h2load ask so often."""
    return ["h2load", "-n", str(requests), *words, f"--connect-to=127.0.0.1:{port}", "https://app.test/"]


def test_many_clients_with_many_streams_each(front: Front, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 100_000)
    for words in (["-c", "5", "-m", "100"], ["-c", "4", "-m", "10", "-d", str(tmp_path / "body")]):
        done = subprocess.run(load(front.port, 400, *words), capture_output=True, text=True, check=True)
        assert "400 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
        assert "protocol: h2" in done.stdout
    log = b"".join(path.read_bytes() for path in tmp_path.glob("a0.*.log"))
    assert log.count(b" status=200 ") == log.count(b" protocol=h2\n") <= 800


def test_a_drain_lets_the_streams_of_a_real_client_finish(front: Front, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_bytes(certificates.authority()[0].public_bytes(Encoding.PEM))
    argv = ["curl", "-sS", "--http2", "--parallel", "--cacert", str(authority)]
    argv += ["--resolve", f"app.test:{front.port}:127.0.0.1", "-w", "%{http_version} %{http_code}\n"]
    for number in range(3):
        argv += ["-o", str(tmp_path / f"got{number}"), f"https://app.test:{front.port}/?n={number}&sleep=1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as curl:
        wait_until(lambda: sum(app.served for app in front.apps) == 3)
        front.process.send_signal(signal.SIGTERM)
        assert curl.communicate()[0].split() == ["2", "200"] * 3
    assert front.process.wait(10) == 0
