"""The sockets that the supervisor binds, keeps open and passes down, so that a daemon's death closes none of them."""

from __future__ import annotations

import errno
import socket

from paas.nouns.errors import Conflict, Unavailable
from paas.nouns.settings import Settings
from paas.nouns.values import Address

BACKLOG = 4096


class Listeners:
    """Each router worker has its own http and https sockets (SO_REUSEPORT), the api and git have one.

    `shared`: workers of this home still serve on the router's addresses. Otherwise a plain bind first makes sure that
    nobody else does.
    """

    def __init__(self, settings: Settings, *, shared: bool) -> None:
        self.http = _shared_port("--http", settings.http, settings.router_workers, alone=not shared)
        self.https = _shared_port("--https", settings.https, settings.router_workers, alone=not shared)
        self.ssh = _bind("--ssh", settings.ssh, reuse_port=False)
        self.api = _bind("--api", settings.api, reuse_port=False)


def _shared_port(flag: str, address: Address | None, count: int, *, alone: bool) -> list[socket.socket]:
    if address is None:
        return []
    if alone:
        _bind(flag, address, reuse_port=False).close()
    return [_bind(flag, address, reuse_port=True) for _ in range(count)]


def _bind(flag: str, address: Address, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        hint = f"Choose another with {flag}."
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"{address} is in use by another program.", hint) from error
        raise Unavailable(f"{address} cannot be listened on: {error.strerror}.", hint) from error
    return sock
