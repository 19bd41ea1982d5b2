"""`python -m router`: alone in front of some backends or a table file, or as one worker of the platform."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, NamedTuple

from router import core

if __name__ == "__main__":  # before anything that may be compiled is imported
    try:
        core.load()
    except core.BuildFailed as error:
        sys.exit(f"router: {error}")

from router.rules.tablefile import parse
from router.shared import Limits
from router.worker import Settings, Worker, listen

RESTART_S: Final = 0.2
"""Pause before a dead worker is restarted, in case it dies each time."""
_NETWORKS: Final[dict[str, Any]] = {
    "type": ip_network,
    "action": "append",
    "default": [],
    "metavar": "NETWORK",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m router", description="HTTP/1.1 reverse proxy", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"router (core: {core.loaded()})")
    _alone(parser.add_argument_group("alone"))
    _as_a_worker(parser.add_argument_group("as a worker"))
    _both(parser.add_argument_group("both"))
    return parser


def _alone(alone: argparse._ArgumentGroup) -> None:
    alone.add_argument("--listen", metavar="ADDR:PORT", help="where to accept clients")
    alone.add_argument("--listen-tls", metavar="ADDR:PORT", help="where to accept clients that speak TLS")
    alone.add_argument("--backends", metavar="ADDR:PORT,…", help="one pool of backends for any host")
    alone.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")


def _as_a_worker(worker: argparse._ArgumentGroup) -> None:
    worker.add_argument("--worker", type=int, metavar="N", help="index of this worker, in names of log files")
    worker.add_argument(
        "--listen-fd", type=int, action="append", metavar="FD", help="a listening socket that was passed"
    )
    worker.add_argument(
        "--tls-listen-fd", type=int, action="append", metavar="FD", help="the same for clients that speak TLS"
    )


def _both(both: argparse._ArgumentGroup) -> None:
    both.add_argument(
        "--table", type=Path, metavar="FILE", help="route table; a worker keeps its last good one here"
    )
    both.add_argument(
        "--control", type=Path, metavar="DIR", help="where to put the control socket worker-PID.sock"
    )
    both.add_argument("--log-dir", type=Path, metavar="DIR", help="where access logs go")
    both.add_argument("--templates", type=Path, metavar="DIR", help="a folder with another error.html")
    both.add_argument("--trust", **_NETWORKS, help="believe what proxies there say of their clients")
    both.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="where the files are that the table names: certificates/ and pages/",
    )
    both.add_argument(
        "--proxy-protocol",
        **_NETWORKS,
        help="connections from there begin with a header of the PROXY protocol, which is believed",
    )
    both.add_argument(
        "--client-connections",
        type=int,
        default=0,
        metavar="N",
        help="how many connections one client address may have at each worker (default: any number)",
    )
    both.add_argument(
        "--drain", type=float, default=30.0, metavar="S", help="seconds for what is in flight on SIGTERM (30)"
    )


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:80` or `[::1]:80`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(f"{text!r} is not ADDR:PORT")
    return host.strip("[]"), int(port)


def table_of(backends: str) -> dict[str, Any]:
    """A table that sends any host to these backends."""
    pool = []
    for number, text in enumerate(backends.split(","), 1):
        host, port = parse_address(text)
        pool.append({"id": text, "address": host, "port": port, "dyno": f"web.{number}"})
    route = {"host": "*", "path": "/", "app": "app", "log": "app", "pool": "p", "flags": {}}
    return {"generation": 0, "routes": [route], "pools": {"p": pool}}


class Sockets(NamedTuple):
    """The listeners of one worker."""

    plain: list[socket.socket]
    tls: list[socket.socket]


def listeners(arguments: argparse.Namespace) -> list[Sockets]:
    """Sockets of their own (SO_REUSEPORT) for each worker. Raises ValueError."""
    per_worker = [Sockets([], []) for _ in range(arguments.workers)]
    for text, secure in ((arguments.listen, 0), (arguments.listen_tls, 1)):
        if text:
            host, port = parse_address(text)
            for sockets in per_worker:
                try:
                    sock = listen(host, port)
                except OSError as error:
                    raise ValueError(f"{text}: {error.strerror}") from error
                port = sock.getsockname()[1]
                sockets[secure].append(sock)
    return per_worker


def run_workers(arguments: argparse.Namespace, table: Any) -> int:
    """Fork workers with listeners of their own; restart what dies; end them on a signal, pass SIGHUP on."""
    sockets = listeners(arguments)
    pids: dict[int, int] = {}
    stopping = False

    def stop(number: int, frame: Any) -> None:
        nonlocal stopping
        stopping = True
        for pid in pids:
            os.kill(pid, signal.SIGTERM)

    def reload(number: int, frame: Any) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGHUP)

    for index, own in enumerate(sockets):
        pids[fork_worker(index, own, arguments, table)] = index
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, reload)
    while pids:
        pid, _ = os.wait()
        index = pids.pop(pid)
        if not stopping:
            print(f"router event=worker-died worker={index} pid={pid}", file=sys.stderr, flush=True)
            time.sleep(RESTART_S)
            pids[fork_worker(index, sockets[index], arguments, table)] = index
    return 0


def fork_worker(number: int, sockets: Sockets, arguments: argparse.Namespace, table: Any) -> int:
    """Start a worker as a child; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        serve(number, sockets, arguments, table)
    except Exception as error:
        print(f"router event=worker-failed worker={number} error={error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


def serve(number: int, sockets: Sockets, arguments: argparse.Namespace, table: Any) -> None:
    """Be one worker."""
    settings = Settings(
        number=number,
        control=arguments.control,
        table_file=arguments.table,
        keep_table=arguments.worker is not None,
        table=table,
        log_dir=arguments.log_dir,
        templates=arguments.templates,
        files=arguments.files,
        trusted=tuple(arguments.trust),
        proxied=tuple(arguments.proxy_protocol),
        client_connections=arguments.client_connections,
        limits=Limits(drain_s=arguments.drain),
    )
    Worker(settings, sockets.plain, sockets.tls).run()


def read_table(options: argparse.ArgumentParser, arguments: argparse.Namespace) -> Any:
    """The table of --backends, if there is one. Exits if the table is invalid; a worker takes what it can use."""
    if arguments.backends:
        table = table_of(arguments.backends)
        parse(table, {})
        return table
    if arguments.table and arguments.worker is None:
        try:
            parse(json.loads(arguments.table.read_text("utf-8")), {})
        except (OSError, ValueError) as error:
            options.error(f"{arguments.table}: {getattr(error, 'strerror', None) or error}")
    return None


def check(options: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exit for arguments that do not go together or name nothing that exists."""
    if (arguments.listen_tls or arguments.tls_listen_fd) and arguments.files is None:
        options.error("TLS needs --files, where the certificates of the table are")
    if arguments.workers < 1:
        options.error("--workers must be at least 1")
    if arguments.templates and not (arguments.templates / "error.html").is_file():
        options.error(f"{arguments.templates} has no error.html")
    for folder in (arguments.control, arguments.log_dir, arguments.files):
        if folder is not None and arguments.worker is None and not folder.is_dir():
            options.error(f"{folder} is no folder")
    if arguments.worker is not None:
        if not arguments.listen_fd:
            options.error("--worker needs --listen-fd")
    elif not (arguments.listen or arguments.listen_tls) or not (
        arguments.backends or arguments.table or arguments.control
    ):
        options.error("--listen and one of --backends, --table, --control are needed")


def main(argv: list[str] | None = None) -> int:
    options = parser()
    arguments = options.parse_args(argv)
    try:
        table = read_table(options, arguments)
        check(options, arguments)
        if arguments.worker is not None:
            passed = (arguments.listen_fd, arguments.tls_listen_fd or [])
            sockets = Sockets(*([socket.socket(fileno=fd) for fd in fds] for fds in passed))
            serve(arguments.worker, sockets, arguments, table)
        elif arguments.workers > 1:
            return run_workers(arguments, table)
        else:
            serve(0, listeners(arguments)[0], arguments, table)
    except ValueError as error:
        options.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
