"""Copy bytes both ways between an upgraded client and the socket of a shim, until either end closes."""

from __future__ import annotations

import contextlib
import socket
import struct
from functools import partial

from flask import Response, request

from paas.daemon import threads
from paas.nouns.errors import BadInput, Unavailable

PROTOCOL = "paas-attach"
_CHUNK = 65536


def wants_upgrade() -> socket.socket:
    """The socket of a client that requests the attach protocol. Raises BadInput for any other."""
    sock = request.environ.get("gunicorn.socket")
    connection = {word.strip().lower() for word in request.headers.get("Connection", "").split(",")}
    if request.headers.get("Upgrade", "").lower() != PROTOCOL or "upgrade" not in connection or sock is None:
        raise BadInput("This address speaks the attach protocol only.", f"Send `Upgrade: {PROTOCOL}`.")
    assert isinstance(sock, socket.socket)
    return sock


def connect(path: str) -> socket.socket:
    """A connection to a shim. Raises Unavailable if the shim is gone or busy."""
    shim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        shim.connect(path)
    except OSError:
        shim.close()
        raise Unavailable("The process has ended, or somebody else is attached to it.") from None
    return shim


def relay(client: socket.socket, shim: socket.socket) -> Response:
    """Switch protocols and copy until the shim is done or the client is gone; then both are closed."""
    with shim:
        _without_timeouts(client)
        client.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n".encode()
        )
        inward = threads.start("attach", partial(_pump, client, shim, True))
        _pump(shim, client, False)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        inward.join()
    response = Response(status=204)
    response.headers["Connection"] = "close"
    return response


def _pump(source: socket.socket, target: socket.socket, whole: bool) -> None:
    """Copy until `source` ends; then shut `target` down for writing, or both ways if `whole`."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR if whole else socket.SHUT_WR)


def _without_timeouts(sock: socket.socket) -> None:
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 0, 0))
