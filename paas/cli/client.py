"""The API's client: HTTP/1.1 over the server's unix socket, or over TCP with a token.

One connection a request, small enough to read, and quick to import: a command spends most of its time starting.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from paas.cli.target import NoAnswer, Target
from paas.nouns.errors import from_json

_PIECE = 64 * 1024
_HEAD_BYTES = 64 * 1024
_LINE_BYTES = 8 * 1024 * 1024
_BODY_BYTES = 64 * 1024 * 1024
"""Far more than a platform sends; a mistyped address may lead to any server."""


class Client:
    """Requests to one platform. Paths are given without `/v1` and with their parts already joined."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def get(self, path: str, **query: object) -> Any:
        """The JSON answer. Raises PaasError, as all methods do."""
        return self._call("GET", path, None, query)

    def text(self, path: str) -> str:
        """An answer that is plain text."""
        with _Exchange(self.target, "GET", _path(path, {}), None) as exchange:
            exchange.check()
            return exchange.body().decode("utf-8", "replace")

    def download(self, path: str, write: Callable[[bytes], object], **query: object) -> int:
        """Pass an answer of any size on as it comes; how many bytes it had."""
        size = 0
        with _Exchange(self.target, "GET", _path(path, query), None) as exchange:
            exchange.check()
            for piece in exchange.pieces():
                size += len(piece)
                write(piece)
        return size

    def post(self, path: str, body: Any = None) -> Any:
        return self._call("POST", path, body, {})

    def patch(self, path: str, body: Any) -> Any:
        return self._call("PATCH", path, body, {})

    def delete(self, path: str, body: Any = None) -> Any:
        return self._call("DELETE", path, body, {})

    def stream(self, method: str, path: str, body: Any = None, **query: object) -> Iterator[dict[str, Any]]:
        """The objects of an NDJSON answer but its pings. Closing the iterator hangs up, which cancels a deploy.

        The last object has `done` and `result`; an error in its place is raised.
        """
        with closing(self.messages(method, path, body, **query)) as messages:
            for message in messages:
                if "ping" in message:
                    continue
                if message.get("error"):
                    raise from_json(message["error"])
                yield message

    def upload(self, path: str, file: BinaryIO, **query: object) -> Iterator[dict[str, Any]]:
        """Send a file, from where it stands to its end; the answer is that of `stream`."""
        return self.stream("POST", path, file, **query)

    def messages(
        self, method: str, path: str, body: Any = None, **query: object
    ) -> Generator[dict[str, Any], None, None]:
        """Every object of an NDJSON answer: pings, and the last one with `result` or `error`."""
        with _Exchange(self.target, method, _path(path, query), body) as exchange:
            exchange.check()
            for line in exchange.lines():
                message = self._parsed(line)
                if isinstance(message, dict):
                    yield message

    def upgrade(self, path: str) -> tuple[socket.socket, bytes]:
        """Become an attached stream: returns the connection, and the bytes that followed the head."""
        exchange = _Exchange(self.target, "GET", _path(path, {}), None, upgrade="paas-attach")
        if exchange.status != 101:
            with exchange:
                exchange.check()
            raise NoAnswer("The platform did not attach to the process.")
        return exchange.detach()

    def _call(self, method: str, path: str, body: Any, query: Mapping[str, object]) -> Any:
        with _Exchange(self.target, method, _path(path, query), body) as exchange:
            exchange.check()
            data = exchange.body()
        return self._parsed(data) if data else None

    def _parsed(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise NoAnswer(f"The platform at {self.target.name} did not answer in JSON.") from error


def part(text: object) -> str:
    """A name as one part of a path, whatever it contains."""
    return quote(str(text), safe="", errors="surrogateescape")


def _path(path: str, query: Mapping[str, object]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    words = {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in given.items()}
    return f"/v1{path}" + (f"?{urlencode(words, errors='surrogateescape')}" if words else "")


class _Exchange:
    """One request and its answer (RFC 9112). A context manager that closes the connection."""

    def __init__(self, target: Target, method: str, path: str, body: Any, *, upgrade: str = "") -> None:
        self._target = target
        self._socket = target.connect()
        self._buffer = b""
        try:
            self._send(method, path, body, upgrade)
            self.status, self._headers = self._head()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> _Exchange:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def detach(self) -> tuple[socket.socket, bytes]:
        return self._socket, self._buffer

    def check(self) -> None:
        """Raise the error that an answer of 4xx or 5xx carries."""
        if self.status < 400:
            return
        try:
            raise from_json(json.loads(self.body())["error"], self.status)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise NoAnswer(
                f"What listens at {self._target.name} answered {self.status}, and not as a platform's API does.",
                "Check the address: the API has a port of its own, 8081 unless the server was told another.",
            ) from None

    def body(self) -> bytes:
        data = bytearray()
        for piece in self.pieces():
            data += piece
            if len(data) > _BODY_BYTES:
                raise self._nonsense(f"a body of more than {_BODY_BYTES >> 20} MiB")
        return bytes(data)

    def lines(self) -> Iterator[bytes]:
        rest = bytearray()
        for piece in self.pieces():
            first, *more = piece.split(b"\n")
            rest += first
            if len(rest) > _LINE_BYTES:
                raise self._nonsense(f"a line of more than {_LINE_BYTES >> 20} MiB")
            for line in more:
                if rest:
                    yield bytes(rest)
                rest = bytearray(line)

    def _send(self, method: str, path: str, body: Any, upgrade: str) -> None:
        headers = {"Host": self._target.host, "User-Agent": "paas", "Accept": "application/json"}
        headers |= {"Connection": "Upgrade", "Upgrade": upgrade} if upgrade else {"Connection": "close"}
        data, file = b"", body if hasattr(body, "read") else None
        if file is not None:
            headers |= {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        elif body is not None:
            data = json.dumps(body).encode()
            headers |= {"Content-Type": "application/json"}
        if method != "GET" and file is None:
            headers["Content-Length"] = str(len(data))
        headers |= self._target.headers
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        try:
            self._socket.sendall("\r\n".join(lines).encode("latin-1", "replace") + data)
        except OSError as error:
            raise self._broken(error) from error
        if file is not None:
            self._send_file(file)

    def _send_file(self, file: BinaryIO) -> None:
        """As chunks; a server that has refused them has answered before their end."""
        with suppress(BrokenPipeError, ConnectionResetError):
            while piece := file.read(_PIECE):
                self._socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self._socket.sendall(b"0\r\n\r\n")

    def _head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > _HEAD_BYTES or not self._fill():
                raise self._broken()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not re.fullmatch("[0-9]{3}", words[1]):
            raise NoAnswer(f"What answers at {self._target.name} does not speak HTTP.")
        pairs = (line.partition(":") for line in rest)
        return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def pieces(self) -> Iterator[bytes]:
        if self._headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif "content-length" in self._headers:
            yield from self._exactly(self._number(self._headers["content-length"], 10))
        else:
            while self._buffer or self._fill():
                piece, self._buffer = self._buffer, b""
                yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = self._number(self._line().split(";")[0], 16)
            if size == 0:
                return
            yield from self._exactly(size)
            self._line()

    def _line(self) -> str:
        """A line of the framing, which is short."""
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > _HEAD_BYTES or not self._fill():
                raise self._broken()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("latin-1")

    def _number(self, text: str, base: int) -> int:
        if not re.fullmatch(r"[0-9A-Fa-f]{1,15}", text.strip()) or (
            base == 10 and not text.strip().isdigit()
        ):
            raise self._nonsense(f"a length of {text[:20]!r}")
        return int(text, base)

    def _exactly(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes, in pieces as they come."""
        while count:
            if not self._buffer and not self._fill():
                raise self._broken()
            piece, self._buffer = self._buffer[:count], self._buffer[count:]
            count -= len(piece)
            yield piece

    def _fill(self) -> bool:
        try:
            piece = self._socket.recv(_PIECE)
        except OSError as error:
            raise self._broken(error) from error
        self._buffer += piece
        return bool(piece)

    def _nonsense(self, what: str) -> NoAnswer:
        return NoAnswer(f"The platform at {self._target.name} answered with {what}.", "Check the address.")

    def _broken(self, error: OSError | None = None) -> NoAnswer:
        reason = (error.strerror or str(error)) if error else "it hung up"
        return NoAnswer(f"The connection to the platform at {self._target.name} broke: {reason}.")
