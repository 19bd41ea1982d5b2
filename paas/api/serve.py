"""The api daemon: `python -P -m paas.api.serve --settings FILE --listen-fd N`. One process, gunicorn's threaded
worker inside.

It listens on the unix socket, where the kernel says who asks, and on TCP, where a token does. Each has threads of
its own, so that no visitor from the network can keep the server's own commands waiting.
"""

from __future__ import annotations

import argparse
import os
import pwd
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from paas.api import gunicorn_worker
from paas.api.app import create_app
from paas.api.context import Context
from paas.api.hook_builds import EXTENSION, HookBuilds
from paas.daemon.journal import log_to_stderr
from paas.nouns.errors import PaasError, Unavailable
from paas.nouns.settings import Settings
from paas.store import Store

_BACKLOG = 4096
_GIT_USER = "paas-git"


def listen_unix(path: Path) -> socket.socket:
    """Listen at `path`, replacing a socket that a dead daemon left. Everybody may connect: peers are checked."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        fresh.unlink(missing_ok=True)
        sock.bind(str(fresh))
        os.chmod(fresh, 0o666)
        sock.listen(_BACKLOG)
        os.replace(fresh, path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be listened on: {error.strerror}.") from error
    return sock


def serve(settings: Settings, remote: socket.socket, groups: tuple[Path, ...]) -> None:
    """Serve until SIGTERM, or until the parent is gone; `remote` is the TCP socket for the network, `groups` is where work on
    what tenants sent is charged."""
    layout = settings.layout()
    git_uid = _uid_of(_GIT_USER)
    app = create_app(Context(settings, Store.open(layout.database), git_uid, groups))
    cast(HookBuilds, app.extensions[EXTENSION]).go()
    remote.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listeners = [listen_unix(layout.api_socket), remote]
    print("api ready", file=sys.stderr, flush=True)
    gunicorn_worker.run(
        app, listeners, frozenset(uid for uid in (0, os.geteuid(), git_uid) if uid is not None)
    )


def _uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="paas.api.serve")
    parser.add_argument(
        "--settings", required=True, metavar="FILE", help="what the server wrote for its daemons"
    )
    parser.add_argument("--listen-fd", required=True, type=int, metavar="N", help="a listening TCP socket")
    parser.add_argument(
        "--group", action="append", default=[], type=Path, help="a cgroup.procs file for sources"
    )
    arguments = parser.parse_args(argv)
    log_to_stderr("daemon=api level=%(levelname)s %(message)s")
    try:
        remote = socket.socket(fileno=arguments.listen_fd)
        serve(Settings.read(arguments.settings), remote, tuple(arguments.group))
    except PaasError as error:
        print(f"daemon=api level=ERROR {error.message} {error.hint}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)
