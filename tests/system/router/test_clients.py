"""Real clients through a router in front of real servers: WebSocket, curl, wrk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.router_process import App, Worker, listener, table
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A router with an echoing app behind app.test and a WebSocket server behind ws.test."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(listener())
        app = App("echo:")
        stack.callback(app.stop)
        server = stack.enter_context(serve(echo, "127.0.0.1", 0, max_size=None))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        worker = Worker(tmp_path_factory.mktemp("router"), sock)
        stack.callback(worker.close)
        document = table(1, [app])
        document["routes"].append({"host": "ws.test", "path": "/", "app": "ws", "pool": "ws"})
        backend = {"id": "ws", "address": "127.0.0.1", "port": server.socket.getsockname()[1]}
        document["pools"]["ws"] = [backend]
        assert worker.ask({"op": "table", "table": document})["ok"]
        yield sock.getsockname()[1]


def open_websocket(port: int) -> ClientConnection:
    return connect("ws://ws.test/", sock=socket.create_connection(("127.0.0.1", port)), max_size=None)


def test_websocket_messages_of_all_sizes(port: int) -> None:
    with open_websocket(port) as ws:
        for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
            message = os.urandom(size)
            ws.send(message)
            assert ws.recv() == message
        ws.send("text")
        assert ws.recv() == "text"
        assert ws.ping().wait(10)


def test_many_websockets_at_once(port: int) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(open_websocket(port)) for _ in range(50)]
        for number, ws in enumerate(sockets):
            ws.send(f"hello {number}")
        assert [ws.recv() for ws in sockets] == [f"hello {number}" for number in range(50)]


def curl(port: int, *arguments: str) -> bytes:
    argv = [
        "curl",
        "-sS",
        "--max-time",
        "20",
        "-H",
        "Host: app.test",
        f"http://127.0.0.1:{port}/",
        *arguments,
    ]
    return subprocess.run(argv, check=True, capture_output=True).stdout


@pytest.mark.parametrize(
    "arguments", [[], ["--http1.0"], ["-H", "Expect: 100-continue"]], ids=["1.1", "1.0", "expect"]
)
def test_curl_uploads_and_gets_everything_back(port: int, tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "upload"
    path.write_bytes(os.urandom(3_000_000))
    answer = curl(port, "--data-binary", f"@{path}", *arguments)
    assert hashlib.sha256(answer).digest() == hashlib.sha256(b"echo:" + path.read_bytes()).digest()


def test_curl_asks_many_times_over_one_connection(port: int) -> None:
    urls = [f"http://127.0.0.1:{port}/{n}" for n in range(20)]
    argv = ["curl", "-sS", "-H", "Host: app.test", "-w", "%{num_connects}\n", *urls]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert sum(int(line.removeprefix("echo:")) for line in lines) == 1


def test_wrk_sees_no_error(port: int) -> None:
    argv = ["wrk", "-t", "1", "-c", "32", "-d", "1s", "-H", "Host: app.test", f"http://127.0.0.1:{port}/"]
    report = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert "requests in" in report
    assert "Non-2xx" not in report and "Socket errors" not in report
