"""HTTPS on a running platform: certificates made, given, replaced and taken away, with curl as a browser."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.platform import Platform, wait_for

from paas.tls import x509

SHOP, BLOG = "shop.example.com", "blog.example.org"
DOMAIN = "apps.example.net"
SIZE = 20_000_000
PROGRAM = f"""\
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        proto, port = self.headers["X-Forwarded-Proto"], self.headers["X-Forwarded-Port"]
        text = f"{{os.environ['PAAS_APP']}} {{proto}} {{port}} {{self.headers['X-Forwarded-For']}}".encode()
        body = bytes({SIZE}) if self.path == "/big" else text
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), App).serve_forever()
"""


@pytest.fixture(scope="module")
def platform(stacks: str) -> Iterator[Platform]:
    running = Platform(domain=DOMAIN)
    try:
        running.start()
        running.make_key()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module", autouse=True)
def apps(platform: Platform) -> None:
    files = {"Procfile": "web: exec python3 -u server.py\n", "server.py": PROGRAM}
    for app, domain in (("shop", SHOP), ("blog", BLOG)):
        platform.deploy(files, app)
        platform.paas("domains:add", domain, "-a", app)


@pytest.fixture(autouse=True)
def clean(platform: Platform) -> Iterator[None]:
    yield
    for app in ("shop", "blog"):
        for item in platform.json("certs", "-a", app):
            assert not item["platform"]
            platform.paas("certs:remove", item["domain"], "-a", app)


@pytest.fixture(scope="module")
def ca(platform: Platform) -> Path:
    """The platform's own authority, as a visitor would keep it."""
    path = platform.folder / "ca.pem"
    path.write_text(platform.paas("certs:ca").stdout)
    return path


def curl(
    platform: Platform, host: str, ca: Path, *words: str, port: int = 0
) -> subprocess.CompletedProcess[str]:
    port = port or platform.https
    scheme = "http" if port == platform.http else "https"
    command = [
        "curl",
        "-sS",
        "--max-time",
        "30",
        "--cacert",
        str(ca),
        "--resolve",
        f"{host}:{port}:127.0.0.1",
    ]
    return subprocess.run(
        [*command, *words, f"{scheme}://{host}:{port}/"], capture_output=True, text=True, check=False
    )


def generate(platform: Platform, app: str, domain: str) -> str:
    """The fingerprint of a new certificate."""
    done = platform.paas("certs:generate", domain, "-a", app, "--json")
    assert '"warnings"' not in done.stdout
    found = {item["domain"]: item for item in platform.json("certs", "-a", app)}
    return str(found[domain]["fingerprint"])


def presented(platform: Platform, host: str) -> str:
    """The fingerprint of what the router shows to who asks for the host; empty when it shows nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", platform.https), 10) as sock,
            context.wrap_socket(sock, server_hostname=host) as secure,
        ):
            der = secure.getpeercert(True) or b""
    except ssl.SSLError:
        return ""
    return hashlib.sha256(der).hexdigest()


def test_each_app_shows_its_own_certificate_and_learns_how_its_visitor_came(
    platform: Platform, ca: Path
) -> None:
    hosts = [("shop", SHOP), ("blog", BLOG), ("shop", f"shop.{DOMAIN}")]
    marks = {host: generate(platform, app, host) for app, host in hosts}
    for app, host in hosts:
        done = curl(platform, host, ca)
        assert done.stdout == f"{app} https {platform.https} 127.0.0.1", done.stderr
        assert presented(platform, host) == marks[host]


def test_who_does_not_know_the_development_authority_is_warned(platform: Platform, ca: Path) -> None:
    generate(platform, "shop", SHOP)
    assert curl(platform, SHOP, Path("/etc/ssl/certs/ca-certificates.crt")).returncode == 60
    assert curl(platform, SHOP, ca, "--tls-max", "1.1").returncode == 35
    assert curl(platform, SHOP, ca, "--tls-max", "1.2", "--http1.1").stdout.startswith("shop https")


def test_http_2_is_spoken_to_who_asks_for_it(platform: Platform, ca: Path) -> None:
    generate(platform, "shop", SHOP)
    assert curl(platform, SHOP, ca, "--http2", "-w", " %{http_version}").stdout.endswith(" 2")
    assert curl(platform, SHOP, ca, "--http1.1", "-w", " %{http_version}").stdout.endswith(" 1.1")


def test_plain_requests_are_led_to_https_and_browsers_told_to_stay_there(
    platform: Platform, ca: Path
) -> None:
    generate(platform, "shop", SHOP)
    platform.paas("router:set", "https-redirect=on", "hsts=1h", "-a", "shop")
    done = curl(platform, SHOP, ca, "-i", port=platform.http)
    assert done.stdout.startswith("HTTP/1.1 301 ")
    assert f"\nlocation: https://{SHOP}:{platform.https}/\n" in done.stdout.lower().replace("\r", "")
    assert "strict-transport-security" not in done.stdout.lower()
    done = curl(platform, SHOP, ca, "-i")
    assert "strict-transport-security: max-age=3600" in done.stdout.lower()
    platform.paas("router:unset", "https-redirect", "hsts", "-a", "shop")


def test_a_certificate_is_replaced_under_running_connections(
    platform: Platform, ca: Path, tmp_path: Path
) -> None:
    first = generate(platform, "shop", SHOP)
    context = ssl.create_default_context(cafile=ca)
    kept = context.wrap_socket(
        socket.create_connection(("127.0.0.1", platform.https), 30), server_hostname=SHOP
    )
    download = context.wrap_socket(
        socket.create_connection(("127.0.0.1", platform.https), 30), server_hostname=SHOP
    )
    with kept, download:
        assert asked(kept) == f"shop https {platform.https} 127.0.0.1"
        download.sendall(f"GET /big HTTP/1.1\r\nHost: {SHOP}\r\n\r\n".encode())
        got = len(download.recv(1000).partition(b"\r\n\r\n")[2])
        second = given(platform, tmp_path)
        assert second != first
        wait_for(lambda: presented(platform, SHOP) == second)
        assert asked(kept) == f"shop https {platform.https} 127.0.0.1"
        while got < SIZE:
            data = download.recv(1 << 16)
            assert data, f"{got} of {SIZE} bytes"
            got += len(data)
        assert got == SIZE
        platform.paas("certs:remove", SHOP, "-a", "shop")
        wait_for(lambda: presented(platform, SHOP) != second)
        assert asked(kept) == f"shop https {platform.https} 127.0.0.1"


def asked(sock: ssl.SSLSocket) -> str:
    """The body of an answer on a connection that is kept."""
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {SHOP}\r\n\r\n".encode())
    answer = b""
    while b"127.0.0.1" not in answer:
        data = sock.recv(4096)
        assert data, answer
        answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()


def given(platform: Platform, folder: Path) -> str:
    """Add a certificate from files, as one bought somewhere; its fingerprint."""
    now = x509.utc_now()
    pair = x509.issue(x509.make_ca("Elsewhere", now), SHOP, now)
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(pair.chain_pem)
    key.write_bytes(x509.key_pem(pair.key))
    done = platform.paas("certs:add", SHOP, "--cert", str(chain), "--key", str(key), "-a", "shop")
    assert "Issuer:      Elsewhere" in done.stdout
    return str(platform.json("certs", "-a", "shop")[0]["fingerprint"])


def test_a_session_resumes_at_whichever_worker_gets_the_connection(platform: Platform, ca: Path) -> None:
    generate(platform, "shop", SHOP)
    context = ssl.create_default_context(cafile=str(ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session, resumed = None, []
    for _ in range(12):
        with (
            socket.create_connection(("127.0.0.1", platform.https), 10) as sock,
            context.wrap_socket(sock, server_hostname=SHOP, session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % SHOP.encode())
            assert secure.recv(65536).startswith(b"HTTP/1.1 200 ")
            session = session or secure.session
            resumed.append(secure.session_reused)
    assert resumed == [False] + [True] * 11


def test_certificates_come_over_ssh_on_standard_input_alone(platform: Platform, tmp_path: Path) -> None:
    done = platform.over_ssh("certs:add", SHOP, "--cert", "/etc/passwd", "--key", "/etc/shadow", "-a", "shop")
    assert done.returncode == 1
    assert "standard input" in done.stderr
    now = x509.utc_now()
    pair = x509.issue(x509.make_ca("Elsewhere", now), SHOP, now)
    done = platform.over_ssh("certs:add", SHOP, "--cert", "-", "-a", "shop", input=pair.pem.decode())
    assert done.returncode == 0, done.stderr
    assert "PRIVATE" not in done.stdout + done.stderr


def test_a_domain_takes_its_certificate_with_it(platform: Platform) -> None:
    platform.paas("domains:add", "old.example.com", "-a", "shop")
    mark = generate(platform, "shop", "old.example.com")
    assert presented(platform, "old.example.com") == mark
    platform.paas("domains:remove", "old.example.com", "-a", "shop")
    assert platform.json("certs", "-a", "shop") == []
    assert presented(platform, "old.example.com") != mark
    platform.paas("domains:add", "old.example.com", "-a", "blog")
    assert presented(platform, "old.example.com") != mark
    platform.paas("domains:remove", "old.example.com", "-a", "blog")


def test_the_platforms_wildcard_answers_for_every_app(platform: Platform, tmp_path: Path) -> None:
    wild, now = f"*.{DOMAIN}", x509.utc_now()
    both = tmp_path / "both.pem"
    both.write_bytes(x509.issue(x509.make_ca("Elsewhere", now), wild, now).pem)
    words = ["certs:add", wild, "--cert", str(both), "--key", str(both)]
    assert "shop has no domain" in platform.paas(*words, "-a", "shop", check=False).stderr
    platform.paas(*words, "--platform")
    mark = platform.json("certs", "--platform")[0]["fingerprint"]
    own = generate(platform, "blog", f"blog.{DOMAIN}")
    assert (presented(platform, f"shop.{DOMAIN}"), presented(platform, f"blog.{DOMAIN}")) == (mark, own)
    assert "added (the platform's)" in platform.paas("certs", "-a", "shop").stdout
    platform.paas("certs:remove", wild, "--platform")
    assert presented(platform, f"shop.{DOMAIN}") != mark


def test_what_is_wrong_with_a_certificate_is_said_and_nothing_changes(
    platform: Platform, tmp_path: Path
) -> None:
    mark = generate(platform, "shop", SHOP)
    now = x509.utc_now()
    pair, other = (x509.issue(x509.make_ca("Elsewhere", now), BLOG, now) for _ in range(2))
    (tmp_path / "chain.pem").write_bytes(pair.chain_pem)
    (tmp_path / "key.pem").write_bytes(x509.key_pem(other.key))
    words = ["certs:add", SHOP, "--cert", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem")]
    done = platform.paas(*words, "-a", "shop", check=False)
    assert done.returncode == 1
    assert f"is for {BLOG}, not for {SHOP}" in done.stderr
    assert "not the one that the certificate was made for" in done.stderr
    assert presented(platform, SHOP) == mark


def test_no_key_of_a_certificate_is_readable_by_others(platform: Platform) -> None:
    generate(platform, "shop", SHOP)
    for folder in ("secrets/certificates", "edge/certificates"):
        paths = list((platform.home / folder).iterdir())
        assert paths
        assert all(path.stat().st_mode & 0o007 == 0 for path in paths)
    assert "PRIVATE" not in str(platform.json("certs", "-a", "shop")) + platform.log_path.read_text()
    assert b"PRIVATE KEY" not in (platform.home / "store/paas.db").read_bytes()
