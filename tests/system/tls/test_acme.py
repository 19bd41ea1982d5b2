"""Certificates by ACME: a real platform, and Let's Encrypt's own test server, which checks every signature."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.acme import Pebble
from harness.platform import Platform, wait_for

from paas.nouns.certificates import AutoCertificate
from paas.store import Store, certificates

SHOP, BLOG = "shop.example.com", "blog.example.com"
LIFE_S = 30


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    made: list[Pebble] = []
    with tempfile.TemporaryDirectory(prefix="paas-pebble-") as folder:
        os.chmod(folder, 0o755)
        platform = Platform()
        made.append(Pebble(Path(folder) / "pebble", platform.http, validity_s=LIFE_S))
        made[0].platform = platform  # type: ignore[attr-defined]
        yield made[0]
        made[0].close()


@pytest.fixture(scope="module")
def platform(pebble: Pebble) -> Iterator[Platform]:
    running: Platform = pebble.platform  # type: ignore[attr-defined]
    running.settings = {"acme_directory": pebble.directory, "acme_ca": str(pebble.ca_file)}
    try:
        running.start()
        running.make_key()
        running.deploy("examples/hello", "hello")
        for name in (SHOP, BLOG, "*.wild.example.com"):
            running.paas("domains:add", name, "-a", "hello")
        yield running
    finally:
        running.close()


def certificate(platform: Platform, domain: str) -> dict[str, Any]:
    found = {item["domain"]: item for item in platform.json("certs", "-a", "hello")}
    return dict(found.get(domain, {}))


def issued(platform: Platform, domain: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        item = certificate(platform, domain)
        return item if item.get("source") == "acme" else None

    return dict(wait_for(there, 60, 0.2))


@pytest.fixture(scope="module")
def visited(platform: Platform, pebble: Pebble) -> Iterator[tuple[dict[str, Any], Visitors]]:
    """The first certificate of a domain, and those who ask it all the time from then on."""
    done = platform.paas("certs:auto:enable", SHOP, "-a", "hello")
    assert (
        f"The authority asks at port 80, and the router listens on 127.0.0.1:{platform.http}" in done.stderr
    )
    first = issued(platform, SHOP)
    with Visitors(platform, pebble.root(), SHOP) as visitors:
        yield first, visitors


def test_a_certificate_is_issued_for_a_domain_that_leads_here(
    visited: tuple[dict[str, Any], Visitors],
) -> None:
    first, visitors = visited
    assert first["issuer"].startswith("Pebble")
    assert first["hosts"] == [SHOP]
    assert visitors.seen[0] == first["fingerprint"]


def _children(platform: Platform) -> list[int]:
    """The processes that ask the directory: none, unless something is due."""
    found = []
    for pid in platform.processes():
        try:
            if b"paas.tls.acme" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


class Visitors:
    """One opens a new TLS connection for every request, one keeps its own; `seen` are fingerprints, in order."""

    def __init__(self, platform: Platform, root: str, host: str) -> None:
        self._address, self._host = ("127.0.0.1", platform.https), host
        self._context = ssl.create_default_context(cadata=root)
        self._over = threading.Event()
        self.failures: list[str] = []
        self.seen: list[str] = []
        self.kept = 0
        work = (self._come_and_go, self._stay)
        self._threads = [threading.Thread(target=target, daemon=True) for target in work]

    def __enter__(self) -> Visitors:
        wait_for(self._welcome)
        for thread in self._threads:
            thread.start()
        wait_for(lambda: (self.seen and self.kept) or self.failures)
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _welcome(self) -> bool:
        """Whether the router's workers have heard of the certificate yet."""
        try:
            for _ in range(8):
                self._connect().close()
        except ssl.SSLError:
            return False
        return True

    def _connect(self) -> ssl.SSLSocket:
        return self._context.wrap_socket(
            socket.create_connection(self._address, 10), server_hostname=self._host
        )

    def _ask(self, sock: ssl.SSLSocket) -> None:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        answer = b""
        while b"Hello from web" not in answer or not answer.endswith(b"\n"):
            data = sock.recv(65536)
            assert data, answer
            answer += data
        assert answer.startswith(b"HTTP/1.1 200 "), answer

    def _come_and_go(self) -> None:
        while not self._over.wait(0.02):
            try:
                with self._connect() as sock:
                    self._ask(sock)
                    self.seen.append(hashlib.sha256(sock.getpeercert(True) or b"").hexdigest())
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    def _stay(self) -> None:
        try:
            with self._connect() as sock:
                while not self._over.wait(0.05):
                    self._ask(sock)
                    self.kept += 1
        except (OSError, AssertionError) as error:
            self.failures.append(f"kept: {error!r}")


def test_a_domain_that_leads_elsewhere_is_told_with_what_the_authority_saw(
    platform: Platform, pebble: Pebble
) -> None:
    pebble.lead_elsewhere(BLOG, "127.0.0.77")
    platform.paas("certs:auto:enable", BLOG, "-a", "hello")
    told = wait_for(lambda: certificate(platform, BLOG).get("error"), 60, 0.2)
    assert "could not see that blog.example.com leads here" in told["message"]
    assert certificate(platform, BLOG)["next_at"] > time.time() + 30
    done = platform.paas("certs", "-a", "hello")
    assert "could not see" in done.stderr and "next try" in done.stderr
    assert "No certificate for blog.example.com" in platform.paas("logs", "-a", "hello", "-n", "500").stdout
    pebble.lead_elsewhere(BLOG, "127.0.0.1")
    platform.paas("certs:auto:enable", BLOG, "-a", "hello")
    assert issued(platform, BLOG)["error"] is None


def test_what_no_authority_would_issue_is_refused_at_once(platform: Platform) -> None:
    for name, why in (
        ("*.wild.example.com", "wildcards are proved in the DNS"),
        ("hello.localhost", "public DNS"),
    ):
        done = platform.paas("certs:auto:enable", name, "-a", "hello", check=False)
        assert done.returncode == 1
        assert why in done.stderr


def test_an_attempt_that_is_killed_is_carried_on_with_the_same_order(platform: Platform) -> None:
    name, store = "crash.wild.example.com", Store(platform.home / "store/paas.db")

    def asked_for() -> AutoCertificate:
        with store.read() as tx:
            return next(item for item in certificates.wanted(tx) if item.domain == name)

    platform.paas("certs:auto:enable", name, "-a", "hello")
    wait_for(lambda: asked_for().order_url)
    for child in _children(platform):
        os.kill(child, signal.SIGKILL)
    wait_for(lambda: not _children(platform))
    assert certificate(platform, name)["source"] is None
    left = asked_for()
    assert (left.failures, left.next_at > time.time()) == (1, True)
    with store.write() as tx:
        certificates.attempted(tx, replace(left, next_at=0.0))
    orders = set()
    while certificate(platform, name)["source"] is None:
        orders.add(asked_for().order_url)
    assert orders <= {left.order_url, None}
    store.close()


def test_no_private_key_is_shown_or_readable_by_others(platform: Platform) -> None:
    shown = json.dumps(platform.json("certs", "-a", "hello")) + platform.paas("logs", "-a", "hello").stdout
    assert "PRIVATE" not in shown + platform.log_path.read_text(errors="replace")
    for folder in ("secrets/certificates", "edge/certificates"):
        for path in (platform.home / folder).iterdir():
            assert path.stat().st_mode & 0o007 == 0, path


def test_turned_off_it_stays_off_and_the_certificate_stays(platform: Platform) -> None:
    name = "crash.wild.example.com"
    platform.paas("certs:auto:disable", name, "-a", "hello")
    item = certificate(platform, name)
    assert (item["auto"], item["source"]) == (False, "acme")
    platform.paas("certs:remove", name, "-a", "hello")
    assert certificate(platform, name) == {}


def test_it_is_renewed_in_time_and_visitors_notice_nothing(
    platform: Platform, visited: tuple[dict[str, Any], Visitors]
) -> None:
    first, visitors = visited
    wait_for(lambda: visitors.seen[-1] != first["fingerprint"], LIFE_S + 10)
    time.sleep(max(0.0, first["not_after"] - time.time()) + 1)
    assert visitors.failures == []
    assert visitors.seen[0] == first["fingerprint"]
    assert visitors.kept > 50
    platform.paas("certs:auto:disable", SHOP, "-a", "hello")
    wait_for(lambda: not _children(platform))
