"""What can go wrong with a directory, without one: how people are told, and when it is tried again."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from paas.nouns.certificates import AutoCertificate
from paas.nouns.settings import load
from paas.store import Store, apps, certificates
from paas.tls import x509
from paas.tls.acme import Attempts


class Busy(BaseHTTPRequestHandler):
    """A directory that wants to be left alone for two hours."""

    def do_GET(self) -> None:
        body = b'{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "Too many today"}'
        self.send_response(429)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Retry-After", "7200")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Nonsense(Busy):
    """Something that is no directory."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")


@contextmanager
def listening(kind: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), kind)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://localhost:{server.server_port}/dir"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Home:
    """A store with one app that wants a certificate."""

    def __init__(self, folder: Path) -> None:
        for name in ("store", "logs", "secrets/certificates", "edge/certificates"):
            (folder / name).mkdir(parents=True)
        (folder / "id").write_text("abcdef\n")
        self.folder = folder
        self.store = Store.open(folder / "store/paas.db")
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None).id
            certificates.set_auto(tx, self.app, "a.io", on=True)
        (folder / "logs" / self.app).mkdir()

    def attempt(self, directory: str, **words: str) -> tuple[AutoCertificate, str]:
        """How one attempt ended, and what people are told."""
        settings = load({"home": str(self.folder), "acme_directory": directory, **words}, {})
        with self.store.write() as tx:
            certificates.attempted(tx, replace(certificates.wanted(tx)[0], next_at=0.0))
        Attempts(settings, self.store).run()
        with self.store.read() as tx:
            auto = certificates.wanted(tx)[0]
        assert auto.error is not None
        log = (self.folder / "logs" / self.app / "platform.log").read_text()
        assert auto.error["message"] in log
        return auto, str(auto.error["message"]) + str(auto.error["hint"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.store.close()


def test_a_directory_that_does_not_answer_is_tried_again_later_and_later(home: Home) -> None:
    waits = []
    for failures in (1, 2, 3):
        auto, told = home.attempt("http://127.0.0.1:9/dir")
        assert "127.0.0.1:9 does not answer" in told and "acme_directory" in told
        assert auto.failures == failures
        waits.append(auto.next_at - time.time())
    assert [round(wait / 60) for wait in waits] == [1, 2, 4]


def test_a_directory_that_asks_to_be_left_alone_is(home: Home) -> None:
    with listening(Busy) as directory:
        auto, told = home.attempt(directory)
    assert "refused: Too many today." in told
    assert 7000 < auto.next_at - time.time() <= 7200


def test_what_is_no_directory_is_told_apart(home: Home) -> None:
    with listening(Nonsense) as directory:
        assert "makes no sense" in home.attempt(directory)[1]


def test_a_private_authority_needs_its_root_certificate(home: Home, tmp_path: Path) -> None:
    now = x509.utc_now()
    ca = x509.make_ca("Private", now)
    (tmp_path / "own.pem").write_bytes(x509.issue(ca, "localhost", now).pem)
    (tmp_path / "ca.pem").write_bytes(ca.chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    with listening(Busy, context) as directory:
        told = home.attempt(directory)[1]
        assert "is not trusted here" in told and "acme_ca" in told
        assert "Too many today" in home.attempt(directory, acme_ca=str(tmp_path / "ca.pem"))[1]
        told = home.attempt(directory, acme_ca=str(tmp_path / "none.pem"))[1]
        assert "none.pem" in told and "acme_ca" in told


def test_keys_of_orders_that_nobody_wants_any_more_go(home: Home) -> None:
    left = home.folder / "secrets/certificates/order-0.pem"
    left.touch()
    home.attempt("http://127.0.0.1:9/dir")
    assert not left.exists()
