"""What the benchmark compares: nginx, HAProxy, Caddy and the router, each alone on a core and in front of the same backend.

All route by Host, take turns over the backend's three ports, keep connections to them open, and add
X-Forwarded-For, X-Forwarded-Proto and X-Request-Id. The router has all that it has on, its access log and metrics
too; the others write no log.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
PROXY_CORE, LOAD_CORE = 0, 1
HOST = "app.test"

NGINX = """daemon off; master_process {master}; worker_processes {workers}; pid {d}/{name}.pid; error_log {d}/{name}.err crit;
events {{ worker_connections 19000; multi_accept on; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; server_tokens off; client_max_body_size 0;
 client_body_temp_path {d}/1; proxy_temp_path {d}/2; fastcgi_temp_path {d}/3; uwsgi_temp_path {d}/4; scgi_temp_path {d}/5;
 upstream app {{ {servers} keepalive 256; keepalive_requests 1000000000; }}
 map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
 server {{ listen 127.0.0.1:{port} {listen}; server_name other.test; return 404; }}
 server {{ listen 127.0.0.1:{port}; {tls} server_name app.test;
  location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Host $host;
   proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_field;
   proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
   proxy_set_header X-Request-Id $request_id; {location} }} }} }}
"""
STREAMING = (
    "proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;"
    " proxy_busy_buffers_size 128k;"
)
HAPROXY = """global
 nbthread 1
 maxconn 9500
 no strict-limits
defaults
 mode http
 timeout connect 5s
 timeout client 600s
 timeout server 600s
 timeout tunnel 600s
 http-reuse always
frontend clients
 bind 127.0.0.1:{port} backlog 4096
 option forwardfor
 http-request set-header X-Forwarded-Proto http
 http-request set-header X-Request-Id %[uuid()]
 use_backend app if {{ hdr(host) -i app.test }}
backend app
 balance roundrobin
{servers}
"""
CADDY = """{{
 admin off
 auto_https off
 log {{
  level ERROR
 }}
}}
http://app.test:{port} {{
 bind 127.0.0.1
 reverse_proxy {servers} {{
  lb_policy round_robin
  header_up X-Request-Id {{http.request.uuid}}
  transport http {{
   keepalive_idle_conns 512
   keepalive_idle_conns_per_host 256
  }}
 }}
}}
"""


class Unusable(Exception):
    """A program that is needed is missing, does not start, or answers wrongly."""


@dataclass
class Proxy:
    """One running proxy; `secure_port` is 0 when it does not speak TLS."""

    name: str
    port: int
    pid: int
    secure_port: int = 0

    def processes(self) -> list[int]:
        return [self.pid, *descendants(self.pid)]

    def cpu_us(self) -> float:
        """User and system time so far, of all threads of all its processes."""
        spent = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    spent += int((task / "schedstat").read_text().split()[0])
        return spent / 1000

    def pss_bytes(self) -> int:
        """Memory in user space: what it has alone, and its part of what it shares."""
        lines = [
            line
            for pid in self.processes()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        ]
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [d for child in children for d in descendants(int(child))]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Stage:
    """Owns a temporary folder and every process that is started; leaving it ends and removes all of them."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._running: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Stage:
        try:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="router-bench-"))
            self.folder = Path(folder)
            self.folder.chmod(0o755)
            for name in ("load", "backend"):
                self._build(name)
            self.backends = self.backend(LOAD_CORE)
            """Ports that proxies which are started now have behind them."""
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(self._running)
        self._stack.close()

    def _build(self, name: str) -> None:
        command = [os.environ.get("CC", "cc"), "-O2", "-o", str(self.folder / name), str(HERE / f"{name}.c")]
        if shutil.which(command[0]) is None:
            raise Unusable(f"{command[0]} is needed: apt-get install gcc libc6-dev")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Unusable(done.stderr)

    def start(self, argv: list[str], core: int | None, **options: Any) -> subprocess.Popen[Any]:
        """A process in a session of its own, on one core, that ends when this one does, however that happens."""
        if shutil.which(argv[0]) is None:
            raise Unusable(f"{argv[0]} is not installed")
        pin = ["taskset", "-c", str(core)] if core is not None else []
        command = ["setpriv", "--pdeathsig", "TERM", *pin, *argv]
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **options)
        self._running.append(process)
        return process

    def stop(self, processes: list[subprocess.Popen[Any]]) -> None:
        """End these, at first politely."""
        processes = list(processes)
        for number, patience_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            end = time.monotonic() + patience_s
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, end - time.monotonic()))
        for process in processes:
            self.ended(process)

    def ended(self, process: subprocess.Popen[Any]) -> None:
        """Forget a process that has been waited for."""
        self._running.remove(process)

    def _proxy(self, name: str, port: int, argv: list[str], core: int | None, **options: Any) -> Proxy:
        errors = self.folder / f"{name}.stderr"
        with errors.open("wb") as sink:
            process = self.start(argv, core, stdout=sink, stderr=sink, **options)
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return Proxy(name, port, process.pid)
            if process.poll() is not None or time.monotonic() > end:
                raise Unusable(f"{name} does not listen: {errors.read_text()[-500:]}")
            time.sleep(0.02)

    def backend(self, core: int) -> list[int]:
        """Three ports of one more backend."""
        ports = [free_port() for _ in range(3)]
        argv = [str(self.folder / "backend"), *map(str, ports)]
        process = self.start(argv, core, stdout=subprocess.PIPE)
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise Unusable("the backend does not start")
        return ports

    def nginx(self, name: str = "nginx", *, location: str = "", workers: int = 1, tls: bool = False) -> Proxy:
        """nginx with something more in its location; several workers have a listening socket and a core each."""
        port, secure_port = free_port(), free_port() if tls else 0
        pem = self.certificate() if tls else None
        text = NGINX.format(
            d=self.folder,
            name=name,
            port=port,
            master="off" if workers == 1 else "on",
            workers=workers,
            listen="backlog=4096" if workers == 1 else "backlog=4096 reuseport",
            servers=" ".join(f"server 127.0.0.1:{backend};" for backend in self.backends),
            location=location,
            tls=f"listen 127.0.0.1:{secure_port} ssl http2; ssl_certificate {pem}; ssl_certificate_key {pem};"
            " ssl_protocols TLSv1.2 TLSv1.3;"
            if tls
            else "",
        )
        path = self.folder / f"{name}.conf"
        path.write_text(text)
        argv = ["nginx", "-p", str(self.folder), "-c", str(path)]
        proxy = self._proxy(name, port, argv, PROXY_CORE if workers == 1 else None)
        proxy.secure_port = secure_port
        return _spread(proxy, workers)

    def haproxy(self) -> Proxy:
        port, path = free_port(), self.folder / "haproxy.cfg"
        servers = "\n".join(f" server s{backend} 127.0.0.1:{backend}" for backend in self.backends)
        path.write_text(HAPROXY.format(port=port, servers=servers))
        return self._proxy("haproxy", port, ["haproxy", "-db", "-f", str(path)], PROXY_CORE)

    def caddy(self) -> Proxy:
        port, path = free_port(), self.folder / "Caddyfile"
        servers = " ".join(f"127.0.0.1:{backend}" for backend in self.backends)
        path.write_text(CADDY.format(port=port, servers=servers))
        home = str(self.folder)
        environment = os.environ | {"GOMAXPROCS": "1", "HOME": home, "XDG_DATA_HOME": home}
        argv = ["caddy", "run", "--config", str(path), "--adapter", "caddyfile"]
        return self._proxy("caddy", port, argv, PROXY_CORE, env=environment)

    def router(
        self, core: str, *, hosts: list[str] | None = None, workers: int = 1, tls: bool = False
    ) -> Proxy:
        """The router with its pure or compiled core and everything on; `hosts` instead of any host."""
        name, port, secure_port = f"router-{core}", free_port(), free_port() if tls else 0
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        argv = [
            sys.executable,
            "-P",
            "-m",
            "router",
            "--listen",
            f"127.0.0.1:{port}",
            "--log-dir",
            str(folder),
        ]
        argv += ["--control", str(folder), "--workers", str(workers)]
        table = table_of(hosts or ["*"], self.backends)
        if tls:
            table["certificates"] = [{"names": [HOST], "file": self.certificate().name}]
            argv += ["--listen-tls", f"127.0.0.1:{secure_port}", "--files", str(self.folder / "files")]
        (folder / "table.json").write_text(json.dumps(table))
        argv += ["--table", str(folder / "table.json")]
        environment = os.environ | {"ROUTER_CORE": core, "PYTHONPATH": str(ROOT)}
        proxy = self._proxy(name, port, argv, PROXY_CORE if workers == 1 else None, env=environment)
        proxy.secure_port = secure_port
        return _spread(proxy, workers)

    def certificate(self) -> Path:
        """A file with a chain for the host of the benchmark and its key: elliptic, of no authority; always the same."""
        folder = self.folder / "files/certificates"
        if not folder.exists():
            folder.mkdir(parents=True)
            key, chain = self.folder / "key.pem", self.folder / "chain.pem"
            command = [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ]
            command += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
            command += ["-keyout", str(key), "-out", str(chain)]
            subprocess.run(command, check=True, capture_output=True)
            (folder / f"{'0' * 64}.pem").write_bytes(chain.read_bytes() + key.read_bytes())
        return folder / f"{'0' * 64}.pem"

    def stop_proxy(self, proxy: Proxy) -> None:
        """End a proxy before the stage is left."""
        self.stop([process for process in self._running if process.pid == proxy.pid])


def _spread(proxy: Proxy, workers: int) -> Proxy:
    """Give each of several workers a core of its own. Raises Unusable when they do not start."""
    end = time.monotonic() + 20
    while workers > 1 and len(descendants(proxy.pid)) < workers:
        if time.monotonic() > end:
            raise Unusable(f"{proxy.name} does not start {workers} workers")
        time.sleep(0.02)
    for core, pid in enumerate(descendants(proxy.pid)):
        os.sched_setaffinity(pid, {core})
    return proxy


def table_of(hosts: list[str], backends: list[int]) -> dict[str, Any]:
    """A route table of one app with these hosts, whose instances are checked."""
    members = [
        {"id": f"b{port}", "address": "127.0.0.1", "port": port, "dyno": f"web.{number}"}
        for number, port in enumerate(backends, 1)
    ]
    route = {"path": "/", "app": "app", "log": "app", "pool": "p", "flags": {"health": {"path": "/"}}}
    routes = [{"host": host, **route} for host in hosts]
    return {"generation": 1, "routes": routes, "pools": {"p": members}}


def cores() -> list[str]:
    """The router's cores that exist here: always `pure`, and `compiled` when it has been built."""
    command = [sys.executable, "-P", "-m", "router", "--version"]
    environment = os.environ | {"ROUTER_CORE": "compiled", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    return ["pure", "compiled"] if done.returncode == 0 else ["pure"]
