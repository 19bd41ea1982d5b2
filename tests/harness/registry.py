"""Debian's docker-registry on loopback for a test: open, with passwords, or with a token server, with or without TLS."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bcrypt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from harness.certificates import authority, pem
from harness.platform import free_port, wait_for

USER, PASSWORD = "pusher", "canary-registry-password-8d1f"


@dataclass
class RunningRegistry:
    """A registry at `host`. `log` is what it and its token server were asked."""

    port: int
    folder: Path
    tls: bool
    log: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"{'localhost' if self.tls else '127.0.0.1'}:{self.port}"

    def reference(self, name: str) -> str:
        return f"{'' if self.tls else 'http://'}{self.host}/{name}"

    @property
    def blobs(self) -> list[Path]:
        """Every blob that it keeps."""
        return sorted((self.folder / "data/docker/registry/v2/blobs").glob("*/*/*/data"))

    def repositories(self, digest: str) -> list[str]:
        """The repositories that link to a blob."""
        name = digest.removeprefix("sha256:")
        links = (self.folder / "data/docker/registry/v2/repositories").glob(f"**/_layers/sha256/{name}")
        return sorted(str(link).split("/repositories/")[1].split("/_layers")[0] for link in links)


@contextlib.contextmanager
def running(auth: str = "", *, tls: bool = False) -> Iterator[RunningRegistry]:
    """A registry with `auth`: nothing, "basic" or "token"."""
    folder = Path(tempfile.mkdtemp(prefix="paas-registry-"))
    registry = RunningRegistry(free_port(), folder, tls)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{registry.port}", "secret": "x"},
        }
        if tls:
            (folder / "tls.pem").write_bytes(pem("localhost"))
            config["http"]["tls"] = {"certificate": str(folder / "tls.pem"), "key": str(folder / "tls.pem")}
        if auth == "basic":
            hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
            (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        if auth == "token":
            config["auth"] = {"token": stack.enter_context(_token_server(folder, registry.log))}
        (folder / "config.json").write_text(json.dumps(config))  # JSON is YAML
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.json")],
            stdout=log, stderr=log, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        stack.callback(process.wait, 10)
        stack.callback(process.kill)
        wait_for(lambda: process.poll() is not None or _listens(registry.port))
        assert process.poll() is None, (folder / "log").read_text()
        yield registry


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def _token_server(folder: Path, log: list[str]) -> Iterator[dict[str, str]]:
    """A server that gives tokens to USER with PASSWORD (distribution's docs/spec/auth/jwt.md)."""
    certificate, key = authority()
    encoded = certificate.public_bytes(serialization.Encoding.DER)
    (folder / "tokens.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    class Tokens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            words = parse_qs(urlsplit(self.path).query)
            log.append(f"{' '.join(words.get('scope', []))} by {self.headers.get('Authorization', 'nobody')}")
            right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != right:
                self.send_error(401)
                return
            body = json.dumps({"token": _token(words["scope"], encoded, key)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Tokens) as port:
        yield {
            "realm": f"http://127.0.0.1:{port}/token",
            "service": "test",
            "issuer": "test",
            "rootcertbundle": str(folder / "tokens.pem"),
        }


def _token(scopes: list[str], certificate: bytes, key: ec.EllipticCurvePrivateKey) -> str:
    access = [
        {"type": kind, "name": name, "actions": actions.split(",")}
        for kind, name, actions in (scope.split(":") for scope in scopes)
    ]
    now = int(time.time())
    claims = {
        "iss": "test",
        "sub": USER,
        "aud": "test",
        "exp": now + 300,
        "nbf": now - 10,
        "iat": now,
        "jti": str(time.monotonic_ns()),
        "access": access,
    }
    head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(certificate).decode()]}
    signed = f"{_url64(json.dumps(head).encode())}.{_url64(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_url64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """An HTTP server on loopback; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
