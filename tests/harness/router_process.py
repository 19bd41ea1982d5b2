"""Real router workers, real backends and steady clients, each in threads or processes of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.enter import command_as


class App:
    """A small keep-alive HTTP server: answers with its name, sleeps for `?sleep=S`, drops idle connections on stop."""

    def __init__(self, name: str, idle_s: float | None = None) -> None:
        self.name = name
        self.served = 0
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = idle_s

            def do_GET(self) -> None:
                app.served += 1
                if "sleep=" in self.path:
                    time.sleep(float(self.path.partition("sleep=")[2]))
                length = int(self.headers.get("Content-Length") or 0)
                body = app.name.encode() + self.rfile.read(length)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256
            connections: set[socket.socket]

            def process_request(self, request: Any, client_address: Any) -> None:
                app.connections.add(request)
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                app.connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, request: Any, client_address: Any) -> None: ...

        self.connections: set[socket.socket] = set()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop as a server does on SIGTERM: no new connections, open ones are closed."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Worker:
    """One `python -m router --worker` and a connection to its control socket."""

    def __init__(
        self,
        folder: Path,
        listener: socket.socket,
        number: int = 0,
        user: int | None = None,
        secure: socket.socket | None = None,
        stderr: Any = None,
    ) -> None:
        passed = [listener.fileno()]
        argv = [
            sys.executable,
            "-P",
            "-m",
            "router",
            "--worker",
            str(number),
            "--listen-fd",
            str(listener.fileno()),
        ]
        if secure is not None:
            passed.append(secure.fileno())
            argv += ["--tls-listen-fd", str(secure.fileno()), "--files", str(folder)]
        argv += ["--control", str(folder), "--table", str(folder / "table.json"), "--log-dir", str(folder)]
        entry = command_as(user, folder) if user else []
        self.process = subprocess.Popen([*entry, *argv], pass_fds=passed, stderr=stderr)
        self.path = folder / f"worker-{self.process.pid}.sock"
        wait_until(self.path.exists)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(10)
        wait_until(self._connects)

    def _connects(self) -> bool:
        with contextlib.suppress(OSError):
            self.control.connect(str(self.path))
            return True
        return False

    def send(self, message: Any) -> None:
        body = json.dumps(message).encode()
        self.control.sendall(struct.pack(">I", len(body)) + body)

    def receive(self) -> Any:
        (length,) = struct.unpack(">I", self.control.recv(4, socket.MSG_WAITALL))
        return json.loads(self.control.recv(length, socket.MSG_WAITALL))

    def ask(self, message: Any) -> Any:
        self.send(message)
        return self.receive()

    def close(self) -> None:
        self.control.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def table(generation: int, apps: list[App], draining: list[App] | None = None) -> dict[str, Any]:
    """Routes for app.test to these apps."""
    gone = draining or []
    pool = [
        {"id": a.name, "address": "127.0.0.1", "port": a.port, "dyno": a.name, "draining": a in gone}
        for a in [*apps, *gone]
    ]
    route = {"host": "app.test", "path": "/", "app": "app", "log": "a0", "pool": "p", "flags": {}}
    return {"generation": generation, "routes": [route], "pools": {"p": pool}}


class Visitors:
    """Threads that ask for app.test over keep-alive connections until stopped; every failure is kept."""

    def __init__(self, port: int, count: int = 6, method: str = "GET", keep: int = 25) -> None:
        self.failures: list[str] = []
        self.answers: dict[str, int] = {}
        self._port, self._method, self._keep = port, method, keep
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                for _ in range(self._keep):
                    body = b"x" * 100 if self._method == "POST" else None
                    connection.request(self._method, "/", body, headers={"Host": "app.test"})
                    response = connection.getresponse()
                    text = response.read().decode()
                    with self._lock:
                        if response.status == 200:
                            self.answers[text] = self.answers.get(text, 0) + 1
                        else:
                            self.failures.append(f"{response.status} {text[:200]}")
                    if response.will_close or self._stop.is_set():
                        break
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(repr(error))
            finally:
                connection.close()

    @property
    def count(self) -> int:
        return sum(self.answers.values())

    def settle(self, more: int) -> None:
        """Wait until so many more requests have been answered."""
        target = self.count + more
        wait_until(lambda: self.count >= target or bool(self.failures))

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def listener() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    return sock


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
