"""curl in each of its protocols, and a WebSocket client, against the running platform."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from harness.platform import Platform
from websockets.sync.client import connect

NAME = "clients.localhost"
PROTOCOLS = {
    "http/1.0": ["--http1.0"],
    "http/1.1": ["--http1.1"],
    "https/1.1": ["--http1.1"],
    "https/2": ["--http2"],
}


@pytest.fixture(scope="module")
def authority(platform: Platform) -> Path:
    """The app is there with a certificate; the file to trust."""
    platform.deploy("tests/apps/real-time", "clients")
    platform.paas("certs:generate", NAME, "-a", "clients")
    path = platform.folder / "authority.pem"
    path.write_text(platform.paas("certs:ca").stdout)
    return path


def curl(platform: Platform, authority: Path, protocol: str, path: str, *words: str) -> tuple[str, bytes]:
    """The version that curl says was spoken, and the body."""
    scheme = protocol.partition("/")[0]
    port = getattr(platform, scheme)
    argv = ["curl", "-sS", "--fail", "--max-time", "60", "--cacert", str(authority), *PROTOCOLS[protocol]]
    argv += ["--resolve", f"{NAME}:{port}:127.0.0.1", "-w", "%{stderr}%{http_version}", *words]
    done = subprocess.run([*argv, f"{scheme}://{NAME}:{port}{path}"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.decode(), done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_curl_uploads_and_downloads(platform: Platform, authority: Path, protocol: str) -> None:
    body = os.urandom(5_000_000)
    file = platform.folder / "upload"
    file.write_bytes(body)
    version, answer = curl(platform, authority, protocol, "/upload", "--data-binary", f"@{file}")
    seen = json.loads(answer)
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()
    assert seen["protocol"] == protocol.partition("/")[0]
    assert version == ("2" if protocol == "https/2" else "1.1")
    for query in ("?blocks=100", "?blocks=100&chunked=1"):
        _, answer = curl(platform, authority, protocol, f"/download{query}")
        assert answer == bytes(range(256)) * 256 * 100


def test_curl_asks_in_parallel_over_one_http_2_connection(platform: Platform, authority: Path) -> None:
    url = f"https://{NAME}:{platform.https}"
    argv = [
        "curl",
        "-sS",
        "--fail",
        "--cacert",
        str(authority),
        "--http2",
        "-Z",
        "--parallel-max",
        "20",
        "-Z",
    ]
    argv += ["--resolve", f"{NAME}:{platform.https}:127.0.0.1", "-w", "%{num_connects} %{size_download}\n"]
    for number in range(40):
        argv += ["-o", "/dev/null", f"{url}/download?blocks=8&n={number}"]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    assert [int(line.split()[1]) for line in lines] == [8 * 65536] * 40
    assert sum(int(line.split()[0]) for line in lines) < 20


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_websocket_client_is_echoed(platform: Platform, authority: Path, scheme: str) -> None:
    port = platform.https if scheme == "wss" else platform.http
    trust = ssl.create_default_context(cafile=str(authority)) if scheme == "wss" else None
    sock = socket.create_connection(("127.0.0.1", port))
    with connect(f"{scheme}://{NAME}:{port}/echo", sock=sock, ssl=trust, max_size=None) as ws:
        for size in (0, 1, 125, 126, 65_535, 65_536, 3_000_000):
            message = os.urandom(size)
            ws.send(message)
            assert ws.recv() == message
        assert ws.ping().wait(10)
