"""One HTTP exchange with a host that a tenant names: every answer is bounded, every wait ends. The standard library only."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import SplitResult, urlsplit

from runtime.image.errors import RegistryError
from runtime.image.reach import Patience, Reach, connect

MAX_JSON = 4 * 1024 * 1024
_ERROR_BYTES = 64 * 1024
_PIECE = 1024 * 1024
_HEADER_BYTES = 256 * 1024
"""Of an answer and of the «100 Continue» before it, of which http.client reads any number."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    url: str


@dataclass(frozen=True)
class Body:
    """A part of a file that is sent, once more if need be."""

    file: BinaryIO
    start: int
    size: int


def request(
    reach: Reach,
    patience: Patience,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | Body = b"",
    *,
    ok: tuple[int, ...] | range = (),
    take: Callable[[bytes], None] | None = None,
) -> Answer:
    """One HTTP exchange on a connection of its own. Raises RegistryError."""
    parts = split(url)
    scheme, host, port = origin(parts)
    if scheme not in ("http", "https") or not host:
        raise RegistryError("the registry leads to an address that is not of the web")
    connection = http.client.HTTPConnection(host, port)
    connection.auto_open = 0
    with connect(reach, patience, host, port, plain=scheme == "http") as stream:
        connection.sock = stream
        try:
            _send(connection, method, parts, headers, body)
            stream.left = _HEADER_BYTES
            with connection.getresponse() as response:
                stream.left = None
                data = _read(response, take if response.status in ok else None)
        except (http.client.HTTPException, OSError, ValueError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            raise RegistryError(f"the connection to {host} broke: {why}") from None
    return Answer(response.status, response.headers, data, url)


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    parts: SplitResult,
    headers: Mapping[str, str],
    body: bytes | Body,
) -> None:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Connection", "close")
    size = body.size if isinstance(body, Body) else len(body)
    if size or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(size))
    connection.endheaders()
    if isinstance(body, bytes):
        if body:
            connection.send(body)
        return
    body.file.seek(body.start)
    while size:
        piece = body.file.read(min(size, _PIECE))
        if not piece:
            raise RegistryError("a layer became shorter while it was sent")
        connection.send(piece)
        size -= len(piece)


def _read(response: http.client.HTTPResponse, take: Callable[[bytes], None] | None) -> bytes:
    if take is not None:
        while piece := response.read(_PIECE):
            take(piece)
        return b""
    most = MAX_JSON if response.status < 400 else _ERROR_BYTES
    data = response.read(most + 1)
    if len(data) > most and response.status < 400:
        raise RegistryError(f"the registry's answer is larger than {most >> 20} MiB")
    return data


def split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise RegistryError("the registry leads to an address that is none") from None


def origin(parts: SplitResult) -> tuple[str, str, int]:
    try:
        port = parts.port
    except ValueError:
        raise RegistryError("the registry leads to a port that is none") from None
    return parts.scheme, parts.hostname or "", port or (80 if parts.scheme == "http" else 443)
