"""The router's workers are replaced and get many tables while visitors come, download and hold WebSockets; and what is
told of it all: status, top, metrics."""

from __future__ import annotations

import http.client
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.platform import Platform, wait_for
from harness.visitors import Visitors
from prometheus_client.parser import text_string_to_metric_families

from router import core
from runtime.kernel.poll import readable

SERVER = """
import http.server, os, socketserver, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b"x" * 2500)
                self.wfile.flush()
                time.sleep(0.1)
        elif self.path == "/echo":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
            while data := self.rfile.read1(4096):
                self.wfile.write(data)
            self.close_connection = True
        else:
            body = os.environ["PAAS_PROCESS"].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_): ...

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256

Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""

APP = {"server.py": SERVER, "Procfile": "web: python3 server.py\n", "requirements.txt": ""}


@pytest.fixture(scope="module")
def host(platform: Platform) -> Iterator[str]:
    platform.deploy(APP, "busy")
    yield f"busy.localhost:{platform.http}"


def worker_pids(platform: Platform) -> list[int]:
    return [item["pid"] for item in platform.status()["daemons"] if item["name"].startswith("router.")]


def test_workers_run_the_core_that_was_compiled(platform: Platform) -> None:
    built = core.is_whole(core.COMPILED / core.digest())
    for pid in worker_pids(platform):
        assert (f"/_compiled/{core.digest()}/" in Path(f"/proc/{pid}/maps").read_text()) == built


def open_echo(platform: Platform, host: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", platform.http), 10)
    sock.sendall(
        f"GET /echo HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return sock


def echo(sock: socket.socket, data: bytes) -> bytes:
    sock.sendall(data)
    got = b""
    while len(got) < len(data):
        got += sock.recv(4096)
    return got


def test_workers_are_replaced_and_tables_reloaded_without_one_failure(platform: Platform, host: str) -> None:
    before = worker_pids(platform)
    downloads: list[int] = []

    def download() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", platform.http, timeout=30)
        connection.request("GET", "/slow", headers={"Host": host})
        downloads.append(len(connection.getresponse().read()))
        connection.close()

    thread = threading.Thread(target=download)
    with open_echo(platform, host) as tunnel, Visitors(platform.http, host, rate=300) as visitors:
        thread.start()
        time.sleep(0.3)
        done = platform.paas("router:restart")
        assert "Restarting the router... done, 2 workers" in done.stderr
        middle = worker_pids(platform)
        assert not set(before) & set(middle)
        assert echo(tunnel, b"over there?") == b"over there?", "the tunnel has its time to drain"
        for number in range(8):
            platform.paas("domains:add", f"d{number}.example.com", "-a", "busy")
        platform.paas("router:restart")
        assert not set(middle) & set(worker_pids(platform))
        assert platform.get("busy", host="d7.example.com").status == 200
        assert echo(tunnel, b"still?") == b"still?"
        thread.join()
    assert visitors.tally.failures == []
    assert visitors.tally.requests > 300
    assert downloads == [100_000]
    wait_for(lambda: not platform.status()["leaving"], 40)


def test_a_successor_that_never_serves_changes_nothing(platform: Platform, host: str) -> None:
    before = worker_pids(platform)
    folder = platform.home / "router"
    aside = platform.home / "router.aside"
    folder.rename(aside)  # a worker cannot be started without it
    try:
        done = platform.paas("router:restart", check=False)
    finally:
        aside.rename(folder)
    assert done.returncode == 1 and "goes on as it is" in done.stderr and "Traceback" not in done.stderr
    assert worker_pids(platform) == before
    assert platform.get("busy").status == 200


def test_status_top_and_metrics(platform: Platform, host: str) -> None:
    with Visitors(platform.http, host, rate=100):
        time.sleep(0.5)
        top = platform.json("router:top")
        shown = platform.paas("router:top", "--once").stdout.splitlines()
        over_ssh = platform.over_ssh("router:top").stdout.splitlines()
    assert top["apps"]["busy"]["requests_per_s"] > 10 and top["apps"]["busy"]["p95_s"] is not None
    assert top["total"]["requests_per_s"] >= top["apps"]["busy"]["requests_per_s"]
    assert list(top["apps"]["busy"]["backends"]) == ["web.1"]
    for lines in (shown, over_ssh):
        assert lines[0].split()[:3] == ["APP", "REQ/S", "INFLIGHT"] and lines[-1].startswith("total ")
        assert any(line.startswith("busy ") for line in lines)
    workers = platform.json("router")
    assert {worker["worker"] for worker in workers} >= set(worker_pids(platform))
    assert len({worker["generation"] for worker in workers}) == 1
    text = platform.paas("router:metrics").stdout
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["router_requests"].samples
    assert {sample.labels["worker"] for sample in samples if sample.labels["app"] == "busy"} == {"1", "2"}
    assert sum(s.value for s in samples if s.labels["app"] == "busy" and s.labels["class"] == "2xx") > 10


def test_top_and_metrics_do_not_list_apps_that_are_no_more(platform: Platform, host: str) -> None:
    platform.paas("apps:create", "shortlived")
    for app in ("busy", "shortlived"):
        platform.get(app)
    assert "shortlived" in platform.json("router:top")["apps"]
    platform.paas("apps:destroy", "-a", "shortlived", "--confirm", "shortlived")
    wait_for(lambda: 'app="shortlived"' not in platform.paas("router:metrics").stdout, 20)
    assert "busy" in (apps := platform.json("router:top")["apps"]) and "shortlived" not in apps


def test_on_a_terminal_top_goes_on_until_it_is_ended(platform: Platform, host: str) -> None:
    leader, follower = pty.openpty()
    with Visitors(platform.http, host, rate=50):
        process = subprocess.Popen(
            [str(platform.program), "router:top"],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=platform.environ(),
            start_new_session=True,
        )
        os.close(follower)
        seen, end = b"", time.monotonic() + 60
        while seen.count(b"2 workers") < 3 and time.monotonic() < end and process.poll() is None:
            if readable(leader, 0.2):
                seen += os.read(leader, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    os.close(leader)
    screens = seen.decode().split("\x1b[H")[1:]
    assert len(screens) >= 3
    assert all("\nbusy " in screen.replace("\r", "") for screen in screens[:2]), seen


def test_who_owns_nothing_sees_nothing(platform: Platform, host: str) -> None:
    stranger = platform.make_key("stranger", platform.folder / "stranger")

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*platform.ssh_words(stranger), "-p", str(platform.ssh), "paas@127.0.0.1", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    platform.get("busy")
    assert json.loads(ask("router:top", "--json").stdout)["apps"] == {}
    refused = ask("router:metrics")
    assert refused.returncode == 1 and "Only an administrator may do that." in refused.stderr


def test_a_dead_worker_is_no_reason_to_wait(platform: Platform, host: str) -> None:
    stopped = worker_pids(platform)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        top = platform.json("router:top")
        assert "busy" in top["apps"]
    finally:
        os.kill(stopped, signal.SIGCONT)
