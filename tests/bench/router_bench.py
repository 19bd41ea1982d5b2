"""The router against nginx doing the same work, interleaved rounds in one run, one core for the proxy.

    python tests/bench/router_bench.py [--rounds 5] [--seconds 2] [--core pure|compiled] [--scenario varied]

The load is Debian's wrk (64 keep-alive connections), the backend an nginx with three ports. `same` repeats one head;
`varied` has browser-like heads, each request and each answer different. CPU per request is user and system time of
the proxy alone, which other load on the machine disturbs least. Prints one JSON object; `cpu_ratio` in it is the
first core's CPU per request, as a multiple of nginx's, in the last scenario.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 64

BACKEND = """daemon off; worker_processes 1; pid {d}/backend.pid; error_log {d}/backend.err crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; server_tokens off;
 client_body_temp_path {d}/1; proxy_temp_path {d}/2; fastcgi_temp_path {d}/3; uwsgi_temp_path {d}/4; scgi_temp_path {d}/5;
 server {{ {listens} location / {{ default_type text/plain; add_header X-Id $arg_id; return 200 "12345678901234567890"; }} }} }}
"""
PROXY = """daemon off; worker_processes 1; pid {d}/proxy.pid; error_log {d}/proxy.err crit;
events {{ worker_connections 4096; multi_accept on; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; server_tokens off;
 client_body_temp_path {d}/6; proxy_temp_path {d}/7; fastcgi_temp_path {d}/8; uwsgi_temp_path {d}/9; scgi_temp_path {d}/10;
 upstream app {{ {servers} keepalive 256; keepalive_requests 1000000000; }}
 server {{ listen 127.0.0.1:{port} backlog=4096; server_name app.test;
  location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection "";
   proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
   proxy_set_header X-Request-Id $request_id; }} }} }}
"""
VARIED = """
local n = 0
local head = "HTTP/1.1\\r\\nHost: app.test\\r\\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " ..
 "Chrome/126.0.0.0 Safari/537.36\\r\\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\\r\\n" ..
 "Accept-Encoding: gzip, deflate, br\\r\\nAccept-Language: en-GB,en;q=0.9\\r\\n" ..
 "Cookie: session=6f1ed002ab5595859014ebf0951522d9; theme=dark\\r\\nCache-Control: max-age=0\\r\\nX-Rnd: "
request = function()
  n = n + 1
  return "GET /b?id=" .. n .. " " .. head .. (n * 40503 % 4294967296) .. "\\r\\n\\r\\n"
end
"""
SAME = 'request = function() return "GET /b HTTP/1.1\\r\\nHost: app.test\\r\\nUser-Agent: wrk\\r\\nAccept: */*\\r\\n\\r\\n" end\n'


class Proxy:
    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.port = port
        self.process = process
        self.rounds: list[dict[str, float]] = []

    def cpu_us(self) -> float:
        """User and system time of the process and its children so far."""
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1000


def children(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Bench:
    """The processes, pinned: proxies to the first core, load and backend to the second."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self.backends = [free_port() for _ in range(3)]
        listens = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in self.backends)
        self._nginx("backend", BACKEND.format(d=folder, listens=listens), self.backends[0], core=1)

    def _start(self, argv: list[str], port: int, core: int, **environment: str) -> subprocess.Popen[bytes]:
        pin = ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []
        process = subprocess.Popen([*pin, *argv], env=os.environ | environment, cwd=ROOT)
        self._stack.callback(process.wait)
        self._stack.callback(process.send_signal, signal.SIGTERM)
        end = time.monotonic() + 15
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return process
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{argv[0]} does not listen on {port}")
            time.sleep(0.02)

    def _nginx(self, name: str, text: str, port: int, core: int) -> subprocess.Popen[bytes]:
        path = self._folder / f"{name}.conf"
        path.write_text(text)
        return self._start(["nginx", "-p", str(self._folder), "-c", str(path)], port, core)

    def nginx(self) -> Proxy:
        port = free_port()
        servers = " ".join(f"server 127.0.0.1:{backend};" for backend in self.backends)
        return Proxy(
            "nginx",
            port,
            self._nginx("proxy", PROXY.format(d=self._folder, port=port, servers=servers), port, 0),
        )

    def router(self, core: str) -> Proxy:
        port = free_port()
        backends = ",".join(f"127.0.0.1:{backend}" for backend in self.backends)
        argv = [sys.executable, "-P", "-m", "router", "--listen", f"127.0.0.1:{port}", "--backends", backends]
        process = self._start([*argv, "--log-dir", str(self._folder)], port, 0, ROUTER_CORE=core)
        return Proxy(f"router-{core}", port, process)

    def load(self, proxy: Proxy, script: Path, seconds: int) -> dict[str, float]:
        """One round: requests per second, CPU per request, the slowest of a hundred."""
        argv = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
        argv += ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
        before = proxy.cpu_us()
        report = subprocess.run(
            [*argv, f"http://127.0.0.1:{proxy.port}/"], check=True, capture_output=True, text=True
        ).stdout
        spent = proxy.cpu_us() - before
        if "Non-2xx" in report or "Socket errors" in report:
            raise SystemExit(f"{proxy.name}: {report}")
        requests = int(find(r"(\d+) requests in", report))
        value, unit = find(r"99%\s+([\d.]+[mu]?s)", report).rstrip("s"), 1e3
        if value[-1] in "mu":
            value, unit = value[:-1], {"m": 1.0, "u": 1e-3}[value[-1]]
        return {
            "cpu_us": spent / requests,
            "requests_per_s": float(find(r"Requests/sec:\s+([\d.]+)", report)),
            "p99_ms": float(value) * unit,
        }


def find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk printed something unknown: {text}")
    return match[1]


def measure(cores: list[str], scenarios: list[str], rounds: int, seconds: int) -> dict[str, Any]:
    """Medians of each proxy in each scenario, and the medians of the rounds' ratios to nginx."""
    result: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-bench-")))
        folder.chmod(0o755)
        bench = Bench(stack, folder)
        proxies = [bench.nginx(), *(bench.router(core) for core in cores)]
        for scenario in scenarios:
            script = folder / f"{scenario}.lua"
            script.write_text({"varied": VARIED, "same": SAME}[scenario])
            for proxy in proxies:
                proxy.rounds.clear()
                bench.load(proxy, script, 1)
            for number in range(rounds):
                for proxy in proxies if number % 2 == 0 else proxies[::-1]:
                    proxy.rounds.append(bench.load(proxy, script, seconds))
            result[scenario] = {proxy.name: summary(proxy, proxies[0]) for proxy in proxies}
    return result


def summary(proxy: Proxy, reference: Proxy) -> dict[str, float]:
    median: Callable[[list[float]], float] = statistics.median
    figures = {key: round(median([r[key] for r in proxy.rounds]), 2) for key in proxy.rounds[0]}
    for key in list(figures):
        ratios = [one[key] / other[key] for one, other in zip(proxy.rounds, reference.rounds, strict=True)]
        figures[f"{key}_x_nginx"] = round(median(ratios), 2)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--core", action="append", choices=["pure", "compiled"])
    parser.add_argument("--scenario", action="append", choices=["same", "varied"])
    parser.add_argument("--json", action="store_true", help="as always")
    arguments = parser.parse_args()
    missing = [name for name in ("nginx", "wrk", "taskset") if shutil.which(name) is None]
    if missing:
        parser.error(f"install {', '.join(missing)}")
    cores, scenarios = arguments.core or ["pure"], arguments.scenario or ["same", "varied"]
    figures = measure(cores, scenarios, arguments.rounds, arguments.seconds)
    ratio = figures[scenarios[-1]][f"router-{cores[0]}"]["cpu_us_x_nginx"]
    print(json.dumps({"cpu_ratio": ratio, "scenarios": figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
