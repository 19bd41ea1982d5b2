"""`python -P -m paas.ssh --settings FILE --listen-fd N`: the SSH front, on a socket that the supervisor bound."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from paas.nouns.errors import PaasError
from paas.nouns.settings import Settings
from paas.receive import progress
from paas.receive.api import Api
from paas.receive.context import GitContext
from paas.receive.housekeeping import housekeep, sweep_left_overs
from paas.receive.limits import Limits
from paas.receive.repository import Repositories
from paas.receive.sources import Sources
from paas.ssh import hostkey
from paas.ssh.accept import Server, freeze_memory
from paas.ssh.paramiko_transport import silence_library
from runtime.cgroup import enter
from runtime.kernel import syscalls


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m paas.ssh", allow_abbrev=False)
    parser.add_argument("--settings", required=True, help="what the supervisor wrote for its daemons")
    parser.add_argument("--listen-fd", required=True, type=int, help="a bound TCP socket")
    parser.add_argument(
        "--group", action="append", default=[], type=Path, help="a cgroup.procs file for pushes"
    )
    options = parser.parse_args()
    silence_library()
    # children confined by seccomp run as the same user: they must not read this process in /proc
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    try:
        server = _server(Settings.read(options.settings), options.listen_fd, tuple(options.group))
    except PaasError as error:
        print("\n".join(progress.failure(error)), file=sys.stderr)
        return error.exit_status
    freeze_memory()
    server.serve()
    return 0


def _server(settings: Settings, listen_fd: int, groups: tuple[Path, ...]) -> Server:
    layout = settings.layout()
    limits = Limits(pack_bytes=settings.push_limit_bytes, source_bytes=settings.source_limit_bytes)
    keys = layout.secrets / "ssh"
    ctx = GitContext(
        home=layout.home,
        api_socket=layout.api_socket,
        repositories=Repositories(layout.repos),
        sources=Sources(layout.sources),
        limits=limits,
        host_key=hostkey.public(keys),
        host_key_folder=keys,
        groups=groups,
    )
    api = Api(layout.api_socket)
    sweep_left_overs(ctx)
    listener = socket.socket(fileno=listen_fd)

    def clean_up() -> None:
        enter(groups)
        housekeep(ctx, api)

    return Server(listener, ctx, clean_up, poke_socket(layout.git_socket))


def poke_socket(path: Path) -> socket.socket:
    """A datagram socket at the path, writable for the control plane's group; an old one is replaced."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    sock.bind(str(path))
    os.chmod(path, 0o660)
    return sock


if __name__ == "__main__":
    sys.exit(main())
