"""The router as a process: tables over the control socket, switches under load, death and restart of workers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harness.platform import free_port
from harness.router_process import App, Visitors, Worker, fds, listener, table, wait_until

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def start_app(stack: contextlib.ExitStack, name: str) -> App:
    app = App(name)
    stack.callback(app.stop)
    return app


def start_worker(stack: contextlib.ExitStack, folder: Path, sock: socket.socket, **options: int) -> Worker:
    worker = Worker(folder, sock, **options)
    stack.callback(worker.close)
    return worker


def start_visitors(stack: contextlib.ExitStack, port: int, method: str = "GET", **options: int) -> Visitors:
    visitors = Visitors(port, method=method, **options)
    stack.callback(visitors.stop)
    return visitors


def open_listener(stack: contextlib.ExitStack) -> tuple[socket.socket, int]:
    sock = stack.enter_context(listener())
    return sock, sock.getsockname()[1]


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        data = b""
        while piece := sock.recv(65536):
            data += piece
        return data


def ask(client: socket.socket, request: bytes = GET) -> bytes:
    """The body of the answer on a connection that stays open."""
    client.sendall(request)
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.read()


def test_tables_are_acknowledged_older_ones_refused_and_the_last_one_outlives_the_worker(
    stack: contextlib.ExitStack, tmp_path: Path
) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    worker = start_worker(stack, tmp_path, sock)
    assert raw(port, GET).startswith(b"HTTP/1.1 404 ")
    pid = worker.process.pid
    assert worker.ask({"op": "table", "table": table(7, [app])}) == {
        "ok": True,
        "generation": 7,
        "worker": pid,
    }
    refused = worker.ask({"op": "table", "table": table(6, [])})
    assert (refused["ok"], refused["generation"], refused["error"]["code"]) == (False, 7, "stale")
    wrong = worker.ask({"op": "table", "table": {"generation": 9, "routes": 5}})
    assert (wrong["ok"], wrong["generation"], wrong["error"]["code"]) == (False, 7, "bad-table")
    assert worker.ask({"op": "dance"})["ok"] is False
    assert raw(port, GET).endswith(b"v1")
    stats = worker.ask({"op": "stats"})
    assert stats["requests"]["app"]["2xx"] == 1 and stats["backends"]["v1"] == {
        "app": "app", "dyno": "v1", "inflight": 0, "requests": 1, "failures": 0, "errors": 0, "up": True,
    }  # fmt: skip
    os.kill(pid, signal.SIGKILL)
    worker.process.wait()
    again = start_worker(stack, tmp_path, sock)
    assert raw(port, GET).endswith(b"v1"), "the table on disk is in force before anyone connects"
    assert again.ask({"op": "table", "table": table(6, [])})["ok"] is False


def test_metrics_are_served_on_the_control_socket(stack: contextlib.ExitStack, tmp_path: Path) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    worker = start_worker(stack, tmp_path, sock)
    worker.ask({"op": "table", "table": table(1, [app])})
    raw(port, GET)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(worker.path))
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while piece := peer.recv(65536):
            data += piece
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'router_requests_total{worker="0",app="app",class="2xx"} 1\n' in data


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_backends_are_switched_under_load_without_one_failure(
    stack: contextlib.ExitStack, tmp_path: Path, method: str
) -> None:
    sock, port = open_listener(stack)
    apps = [start_app(stack, "v0")]
    worker = start_worker(stack, tmp_path, sock)
    assert worker.ask({"op": "subscribe"})["ok"]
    assert worker.ask({"op": "table", "table": table(1, apps)})["ok"]
    visitors = start_visitors(stack, port, method)
    for number in range(1, 6):
        visitors.settle(100)
        old, apps = apps, [start_app(stack, f"v{number}.{n}") for n in range(2)]
        worker.send({"op": "table", "table": table(number * 10, apps, old)})
        drained: set[str] = set()
        while drained != {app.name for app in old}:
            message = worker.receive()
            assert message.get("ok", True)
            if message.get("event") == "drained":
                drained.add(message["id"])
        for app in old:
            app.stop()
        worker.send({"op": "table", "table": table(number * 10 + 1, apps)})
    visitors.settle(100)
    visitors.stop()
    assert visitors.failures == []
    assert len(visitors.answers) == 11


def test_draining_waits_for_the_request_in_flight(stack: contextlib.ExitStack, tmp_path: Path) -> None:
    sock, port = open_listener(stack)
    old, new = start_app(stack, "old"), start_app(stack, "new")
    worker = start_worker(stack, tmp_path, sock)
    worker.ask({"op": "subscribe"})
    worker.ask({"op": "table", "table": table(1, [old])})
    slow = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
    slow.sendall(b"GET /?sleep=0.6 HTTP/1.1\r\nHost: app.test\r\n\r\n")
    wait_until(lambda: old.served == 1)
    assert worker.ask({"op": "table", "table": table(2, [new])})["ok"]
    assert raw(port, GET).endswith(b"new")
    assert worker.ask({"op": "stats"})["backends"]["old"]["inflight"] == 1
    assert worker.receive() == {"event": "drained", "id": "old"}
    assert ask(slow, b"") == b"old"


def test_a_worker_drains_on_sigterm_without_one_failure(stack: contextlib.ExitStack, tmp_path: Path) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    old = start_worker(stack, tmp_path, sock)
    old.ask({"op": "table", "table": table(1, [app])})
    visitors = start_visitors(stack, port, keep=1000)
    visitors.settle(100)
    slow = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
    slow.sendall(b"GET /?sleep=1 HTTP/1.1\r\nHost: app.test\r\n\r\n")
    start_worker(stack, tmp_path, sock)
    visitors.settle(50)
    old.process.send_signal(signal.SIGTERM)
    assert ask(slow, b"") == b"v1"
    assert old.process.wait(20) == 0
    visitors.settle(200)
    visitors.stop()
    assert visitors.failures == []
    assert not old.path.exists()


def test_who_waits_to_be_accepted_is_served_by_a_worker_that_drains(
    stack: contextlib.ExitStack, tmp_path: Path
) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    worker = start_worker(stack, tmp_path, sock)
    worker.ask({"op": "table", "table": table(1, [app])})
    sock.close()  # the worker's is the last one
    worker.process.send_signal(signal.SIGSTOP)
    clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(200)]
    worker.process.send_signal(signal.SIGTERM)
    worker.process.send_signal(signal.SIGCONT)
    for client in clients:
        client.sendall(GET)
    for client in clients:
        assert ask(client, b"") == b"v1"
    assert worker.process.wait(20) == 0


def test_the_death_of_a_worker_loses_only_its_own_connections(
    stack: contextlib.ExitStack, tmp_path: Path
) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    one, other = start_worker(stack, tmp_path, sock), start_worker(stack, tmp_path, sock, number=1)
    for worker in (one, other):
        worker.ask({"op": "table", "table": table(1, [app])})
    held: dict[int, list[socket.socket]] = {one.process.pid: [], other.process.pid: []}
    while not all(held.values()):
        before = {w.process.pid: w.ask({"op": "stats"})["clients"] for w in (one, other)}
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        assert ask(client) == b"v1"
        taker = next(w for w in (one, other) if w.ask({"op": "stats"})["clients"] > before[w.process.pid])
        held[taker.process.pid].append(client)
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.wait()
    for client in held[other.process.pid]:
        assert ask(client) == b"v1"
    assert raw(port, GET).endswith(b"v1")


def test_a_worker_runs_without_privileges(stack: contextlib.ExitStack, tmp_path: Path) -> None:
    folder = tmp_path / "router"
    folder.mkdir()
    for path in (folder, *tmp_path.parents, tmp_path):
        if path.is_relative_to(tmp_path.parents[1]):
            path.chmod(0o755)
    os.chown(folder, 65534, 65534)
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    worker = start_worker(stack, folder, sock, user=65534)
    worker.ask({"op": "table", "table": table(1, [app])})
    assert raw(port, GET).endswith(b"v1")
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status


def test_idle_connections_are_given_up_when_descriptors_run_out(
    stack: contextlib.ExitStack, tmp_path: Path
) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    worker = start_worker(stack, tmp_path, sock)
    worker.ask({"op": "table", "table": table(1, [app])})
    pid = worker.process.pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (fds(pid) + 40, hard))
    used = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(20)]
    assert [ask(client) for client in used] == [b"v1"] * 20
    time.sleep(2.5)
    for _ in range(60):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        assert ask(client) == b"v1"
    assert all(client.recv(1) == b"" for client in used), "those that have been idle longest"


def test_running_out_of_descriptors_neither_ends_nor_spins_the_worker(
    stack: contextlib.ExitStack, tmp_path: Path
) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "v1")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    worker = start_worker(stack, tmp_path, sock)
    worker.ask({"op": "table", "table": table(1, [app])})
    pid = worker.process.pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (fds(pid) + 20, hard))
    clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(60)]
    wait_until(lambda: fds(pid) >= 28)
    before = cpu_s(pid)
    time.sleep(1.5)
    assert cpu_s(pid) - before < 0.5, "it does not spin"
    for client in clients:
        client.close()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert raw(port, GET).endswith(b"v1")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_access_lines_are_on_disk_soon(stack: contextlib.ExitStack, tmp_path: Path) -> None:
    sock, port = open_listener(stack)
    app = start_app(stack, "web.1")
    worker = start_worker(stack, tmp_path, sock)
    worker.ask({"op": "table", "table": table(1, [app])})
    raw(port, b"GET /a?b=1 HTTP/1.1\r\nHost: app.test\r\nX-Request-Id: 01234567890123456789\r\n\r\n")
    path = tmp_path / "a0.0.0.log"
    wait_until(lambda: path.exists() and path.read_text())
    line = path.read_text()
    assert (
        ' paas[router]: at=info method=GET path="/a?b=1" host=app.test request_id=01234567890123456789 '
        in line
    )
    assert 'fwd="127.0.0.1" dyno=web.1 connect=' in line and line.endswith(
        " status=200 bytes=5 protocol=http\n"
    )


def alone(stack: contextlib.ExitStack, port: int, *arguments: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-P", "-m", "router", "--listen", f"127.0.0.1:{port}", *arguments]
    process = subprocess.Popen(argv)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    wait_until(lambda: not refuses(port))
    return process


def refuses(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return False
    return True


def test_alone_in_front_of_backends_for_any_host(stack: contextlib.ExitStack) -> None:
    apps = [start_app(stack, "one"), start_app(stack, "two")]
    port = free_port()
    alone(stack, port, "--backends", ",".join(f"127.0.0.1:{app.port}" for app in apps))
    bodies = {urllib.request.urlopen(f"http://127.0.0.1:{port}/").read() for _ in range(40)}
    assert bodies == {b"one", b"two"}


def test_alone_with_a_table_and_two_workers_one_of_which_dies(
    stack: contextlib.ExitStack, tmp_path: Path
) -> None:
    app = start_app(stack, "v1")
    path = tmp_path / "routes.json"
    path.write_text(json.dumps(table(1, [app])))
    port = free_port()
    process = alone(stack, port, "--table", str(path), "--workers", "2")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 2)
    workers = children.read_text().split()
    os.kill(int(workers[0]), signal.SIGKILL)
    wait_until(lambda: len(children.read_text().split()) == 2 and children.read_text().split() != workers)
    for _ in range(10):
        assert raw(port, GET).endswith(b"v1")
    assert json.loads(path.read_text()) == table(1, [app])


def test_who_takes_longer_than_the_time_to_drain_is_cut_off(stack: contextlib.ExitStack) -> None:
    app, port = start_app(stack, "v1"), free_port()
    process = alone(stack, port, "--backends", f"127.0.0.1:{app.port}", "--drain", "1")
    slow = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
    slow.sendall(b"GET /?sleep=25 HTTP/1.1\r\nHost: app.test\r\n\r\n")
    wait_until(partial(getattr, app, "served"))
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(ConnectionResetError):
        assert slow.recv(100) == b"", "it ends without an answer, and before there could be one"
    assert process.wait(10) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_alone_the_table_is_read_again_under_load_without_one_failure(
    stack: contextlib.ExitStack, tmp_path: Path, workers: str
) -> None:
    path = tmp_path / "routes.json"
    apps = [start_app(stack, "v0")]
    path.write_text(json.dumps(table(1, apps)))
    port = free_port()
    process = alone(stack, port, "--table", str(path), "--workers", workers)
    visitors = start_visitors(stack, port, "POST")
    for number in range(1, 6):
        visitors.settle(50)
        apps = [*apps[-1:], start_app(stack, f"v{number}")]
        path.write_text(json.dumps(table(number, apps[1:], apps[:1])))
        process.send_signal(signal.SIGHUP)
        wait_until(partial(getattr, apps[-1], "served"))
    path.write_text("{")
    process.send_signal(signal.SIGHUP)
    visitors.settle(50)
    visitors.stop()
    assert visitors.failures == []
    assert raw(port, GET).endswith(b"v5"), "what is no table changes nothing"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--listen", "x"],
        ["--listen", "127.0.0.1:0"],
        ["--worker", "0"],
        ["--listen", "127.0.0.1:0", "--table", "/nope"],
        ["--listen", "127.0.0.1:0", "--table", "/proc/self/status"],
        ["--listen", "127.0.0.1:0", "--backends", "localhost:9"],
        ["--listen", "127.0.0.1:0", "--backends", "127.0.0.1:9", "--control", "/nope", "--workers", "2"],
        ["--listen", "127.0.0.1:0", "--backends", "127.0.0.1:9", "--log-dir", "/nope"],
        ["--listen", "127.0.0.1:0", "--backends", "127.0.0.1:9", "--workers", "0"],
        ["--listen", "127.0.0.1:0", "--backends", "127.0.0.1:9", "--templates", "/proc"],
        ["--listen", "203.0.113.1:80", "--backends", "127.0.0.1:9"],
    ],
)
def test_wrong_usage_is_told_in_a_sentence(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-P", "-m", "router", *arguments], capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 2
    assert "error:" in result.stderr and "Traceback" not in result.stderr
