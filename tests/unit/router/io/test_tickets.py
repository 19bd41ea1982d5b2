"""TLS of real workers: sessions that resume at another worker, and what openssl and strangers get."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from harness import certificates
from harness.platform import free_port
from harness.router_process import App, Worker, listener, table, wait_until

from router.io import openssl
from router.io.certificates import Certificates
from router.io.openssl import KEY_BYTES
from router.io.tickets import LOOKED_AT_S, RENEWED_S, Tickets

ASK = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Site:
    """Workers with TLS listeners of their own over one folder, in front of one app."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = App("one")
        self.said = (folder / "stderr").open("w+")
        self.sockets: list[socket.socket] = []
        self.workers: list[Worker] = []
        (folder / "ca.pem").write_bytes(certificates.authority()[0].public_bytes(Encoding.PEM))
        entry = {"names": ["app.test"], "file": certificates.put(folder, "app.test")}
        self.table = table(1, [self.app]) | {"certificates": [entry]}

    def start(self) -> int:
        """One more worker; returns the port of its own where it speaks TLS."""
        plain, secure = listener(), listener()
        self.sockets += [plain, secure]
        worker = Worker(self.folder, plain, len(self.workers), secure=secure, stderr=self.said)
        self.workers.append(worker)
        assert worker.ask({"op": "table", "table": self.table})["ok"]
        return int(secure.getsockname()[1])

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for sock in self.sockets:
            sock.close()
        self.said.close()
        self.app.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def visit(port: int, context: ssl.SSLContext, session: Any = None) -> tuple[Any, bool]:
    """Ask once; returns the session and whether it was the given one resumed."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname="app.test", session=session) as client,
    ):
        client.sendall(ASK)
        got = b""
        while not got.endswith(b"one"):
            got += client.recv(65536)
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        return client.session, bool(client.session_reused)


def test_sessions_resume_at_other_workers_and_after_restarts(site: Site) -> None:
    ports = [site.start(), site.start()]
    for version in VERSIONS:
        context = certificates.client_context()
        context.minimum_version = context.maximum_version = version
        session, _ = visit(ports[0], context)
        assert visit(ports[0], context, session)[1]
        assert visit(ports[1], context, session)[1]
        site.workers[0].process.kill()
        ports[0] = site.start()
        assert visit(ports[0], context, session)[1]
    key = site.folder / "tickets.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == KEY_BYTES


def test_a_client_of_openssl_reconnects_with_its_session(site: Site) -> None:
    port = site.start()
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "app.test"]
    command += ["-CAfile", str(site.folder / "ca.pem"), "-verify_return_error"]
    tls12 = subprocess.run([*command, "-tls1_2", "-reconnect"], input=b"", capture_output=True, timeout=30)
    assert tls12.stdout.count(b"\nNew, TLSv1.2") == 1
    assert tls12.stdout.count(b"\nReused, TLSv1.2") == 5
    session = str(site.folder / "session")
    for option, said in (("-sess_out", b"\nNew, TLSv1.3"), ("-sess_in", b"\nReused, TLSv1.3")):
        arguments = [*command, "-tls1_3", "-ign_eof", option, session]
        request = ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        tls13 = subprocess.run(arguments, input=request, capture_output=True, timeout=30)
        assert said in tls13.stdout
        assert b"HTTP/1.1 200 OK" in tls13.stdout


def test_small_fragments_and_no_renegotiation(site: Site) -> None:
    port = site.start()
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "app.test", "-tls1_2"]
    small = subprocess.run(
        [*command, "-maxfraglen", "512", "-ign_eof"],
        input=b"POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n"
        + b"a" * 60000,
        capture_output=True,
        timeout=30,
    )
    assert small.stdout.count(b"a" * 60000) == 1
    again = subprocess.run(command, input=b"R\n", capture_output=True, timeout=30)
    assert b"no renegotiation" in again.stderr


def test_a_name_that_is_no_ascii_is_refused_without_a_word(site: Site) -> None:
    port = site.start()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = certificates.client_context().wrap_bio(incoming, outgoing, server_hostname="abcd.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(hello.replace(b"abcd.test", b"abcd\x80test"))
        assert sock.recv(100)[:1] == b"\x15"
        assert sock.recv(100) == b""
    visit(port, certificates.client_context())
    assert (site.folder / "stderr").read_text() == ""


# the shared key


@pytest.fixture
def bases(tmp_path: Path) -> list[ssl.SSLContext]:
    """What the handshakes of two workers begin with."""
    file = certificates.put(tmp_path, "app.test")
    return [Certificates(tmp_path / "certificates", lambda name: file, []).base for _ in range(2)]


def resumes(first: ssl.SSLContext, second: ssl.SSLContext) -> bool:
    """Whether a session that began at one is taken up by the other."""
    context = certificates.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for base in (first, second):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(to_client, to_server, server_hostname="app.test", session=session)
        server = base.wrap_bio(to_server, to_client, server_side=True)
        for end in (client, server, client, server, client):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        session = client.session
    return bool(client.session_reused)


def test_workers_agree_on_a_key_and_change_it_together(bases: list[ssl.SSLContext], tmp_path: Path) -> None:
    file = tmp_path / "tickets.key"
    pair = [Tickets(base, file) for base in bases]
    assert all(ticket.shared for ticket in pair)
    assert not resumes(*bases)
    now = tmp_path.stat().st_mtime
    for ticket in pair:
        ticket.refresh(0.0, now)
    assert resumes(*bases)
    first, later = file.read_bytes(), file.stat().st_mtime + RENEWED_S + 1
    pair[0].refresh(LOOKED_AT_S - 1, later)
    assert file.read_bytes() == first
    pair[0].refresh(LOOKED_AT_S + 1, later)
    assert file.read_bytes() != first
    assert not resumes(*bases)
    pair[1].refresh(LOOKED_AT_S + 1, file.stat().st_mtime)
    assert resumes(*bases)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 81])
def test_a_file_that_is_no_key_is_replaced(
    bases: list[ssl.SSLContext], tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "tickets.key"
    file.write_bytes(content)
    Tickets(bases[0], file).refresh(0.0, file.stat().st_mtime)
    assert len(file.read_bytes()) == KEY_BYTES


def test_without_a_folder_to_write_each_worker_has_its_own(
    bases: list[ssl.SSLContext], tmp_path: Path
) -> None:
    for base in bases:
        Tickets(base, tmp_path / "none" / "tickets.key").refresh(0.0, 0.0)
    assert not resumes(*bases)
    assert resumes(bases[0], bases[0])


def test_where_openssl_cannot_be_reached_each_worker_has_its_own(
    bases: list[ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssl, "_address", lambda context: 8)  # no context is there
    file = tmp_path / "tickets.key"
    for base in bases:
        keys = Tickets(base, file)
        keys.refresh(0.0, 0.0)
        assert not keys.shared
    assert not file.exists()
    assert resumes(bases[0], bases[0])


# alone


def test_tls_wants_a_folder_with_certificates() -> None:
    command = [sys.executable, "-m", "router", "--listen-tls", "127.0.0.1:0", "--backends", "127.0.0.1:1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert "TLS needs --files" in result.stderr


def test_flags_about_clients_reach_every_listener(site: Site) -> None:
    (site.folder / "table.json").write_text(json.dumps(site.table))
    ports = [free_port(), free_port()]
    command = [sys.executable, "-m", "router", "--listen", f"127.0.0.1:{ports[0]}", "--listen-tls"]
    command += [
        f"127.0.0.1:{ports[1]}",
        "--table",
        str(site.folder / "table.json"),
        "--files",
        str(site.folder),
    ]
    command += ["--log-dir", str(site.folder), "--proxy-protocol", "127.0.0.0/8", "--client-connections", "2"]
    router = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: connects(ports[1]))
        clients = [arrive(port, b"PROXY TCP4 198.51.100.7 203.0.113.1 1 2\r\n") for port in ports]
        clients[0].sendall(ASK)
        assert clients[0].recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        secure = certificates.client_context().wrap_socket(clients[1], server_hostname="app.test")
        secure.sendall(ASK)
        assert secure.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        third = arrive(ports[0], b"PROXY TCP4 198.51.100.7 203.0.113.1 1 2\r\n")
        assert third.recv(1) == b""
        bare = arrive(ports[0], ASK)
        assert bare.recv(1) == b""
        for client in (clients[0], secure, third, bare):
            client.close()
    finally:
        router.terminate()
        _, said = router.communicate(timeout=30)
    lines = (site.folder / "a0.0.0.log").read_text().splitlines()
    assert [line.rpartition("protocol=")[2] for line in lines] == ["http", "https"]
    assert all(' fwd="198.51.100.7" ' in line for line in lines)
    assert "event=client-limit address=198.51.100.7" in said


def connects(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        return True
    return False


def arrive(port: int, data: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(data)
    return sock
