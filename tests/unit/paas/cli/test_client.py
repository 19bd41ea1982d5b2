"""The client's HTTP: what it sends, and how it takes every form of answer and every way a connection breaks."""

from __future__ import annotations

import io
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.answering import Answering

from paas.cli.client import Client, part
from paas.cli.target import Target
from paas.nouns.errors import BadInput, DeployFailed, NotFound, Unauthorized, Unavailable


class Server(Answering):
    """A platform that says what it is told to, and its client."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.client = Client(Target("here", path=str(path), headers={"X-Paas-Proof": "bea"}))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "api.sock")
    yield made
    made.close()


def plain(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*pieces: bytes) -> list[bytes]:
    chunks = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces]
    return [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]


def test_a_request_carries_its_query_body_and_user(server: Server) -> None:
    server.answer = [plain(b'{"a": 1}')]
    assert server.client.get("/apps", limit=3, stats=True, release=None) == {"a": 1}
    assert server.client.post("/apps", {"name": "ünï"}) == {"a": 1}
    first, second = server.requests
    assert first.startswith(b"GET /v1/apps?limit=3&stats=1 HTTP/1.1\r\n")
    assert b"\r\nX-Paas-Proof: bea\r\n" in first and b"Content-Length" not in first
    head, body = second.split(b"\r\n\r\n")
    assert json.loads(body) == {"name": "ünï"}
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head + b"\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        [plain(b'{"a": 1}')],
        [piece for byte in plain(b'{"a": 1}') for piece in [bytes([byte])]],
        chunked(b'{"a"', b": 1}"),
        [b"HTTP/1.1 200 OK\r\n\r\n", b'{"a": 1}'],
    ],
    ids=["length", "byte by byte", "chunked", "until the end"],
)
def test_every_framing_of_an_answer_is_read(server: Server, answer: list[bytes]) -> None:
    server.answer = answer
    assert server.client.get("/apps") == {"a": 1}


def test_an_error_of_the_api_is_raised_as_it_was(server: Server) -> None:
    body = json.dumps({"error": Unauthorized("A token is needed.", "Make one.").to_json()}).encode()
    server.answer = [plain(body, "401 Unauthorized")]
    with pytest.raises(Unauthorized) as caught:
        server.client.get("/apps")
    assert (caught.value.message, caught.value.hint) == ("A token is needed.", "Make one.")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "broke"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "broke"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (plain(b"<html>", "502 Bad Gateway"), "answered 502"),
        (plain(b"<html>"), "did not answer in JSON"),
        (b"x" * 70_000, "broke"),
        (plain(b"[" * 100_000), "did not answer in JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "a length of 'many'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "a length of '-5'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000, "broke"),
    ],
)
def test_a_broken_answer_is_one_sentence(server: Server, answer: bytes, said: str) -> None:
    server.answer = [answer] if answer else []
    with pytest.raises(Unavailable, match=said):
        server.client.get("/apps")


@pytest.mark.parametrize(
    "head", [b"Content-Length: 999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
@pytest.mark.parametrize("way", ["get", "text", "stream"])
def test_an_endless_answer_is_given_up_and_not_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch, head: bytes, way: str
) -> None:
    """Whoever listens at the address may send for ever: what is kept of it is bounded."""
    monkeypatch.setattr("paas.cli.client._BODY_BYTES", 1 << 20)
    monkeypatch.setattr("paas.cli.client._LINE_BYTES", 1 << 20)
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n" if head.startswith(b"Transfer") else b"x" * 65536
    server.answer = [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n", *[piece] * 64]
    tracemalloc.start()
    try:
        with pytest.raises(Unavailable, match=r"answered with a (body|line) of more than"):
            list(server.client.stream("GET", "/x")) if way == "stream" else getattr(server.client, way)("/x")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_stream_gives_lines_without_pings_and_ends_with_the_result(server: Server) -> None:
    server.answer = chunked(
        b'{"line": "one"}\n{"pi', b'ng": true}\n{"line": "two"}\n', b'{"done": true, "result": {"n": 1}}\n'
    )
    assert list(server.client.stream("POST", "/x", {})) == [
        {"line": "one"},
        {"line": "two"},
        {"done": True, "result": {"n": 1}},
    ]


def test_a_stream_that_ends_in_an_error_raises_it(server: Server) -> None:
    error = DeployFailed("web.1 exited.", "See: paas logs", cause="exited with status 1", lines=("boom",))
    server.answer = chunked(
        b'{"line": "one"}\n', json.dumps({"done": True, "error": error.to_json()}).encode() + b"\n"
    )
    seen = []
    with pytest.raises(DeployFailed) as caught:
        seen.extend(server.client.stream("POST", "/x", {}))
    assert caught.value.lines == ("boom",)


def test_closing_a_stream_hangs_up(server: Server) -> None:
    gone = threading.Event()
    server.answer = []

    def loop() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(server.client.target.path + "2")
            listener.listen()
            ready.set()
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"line": "one"}\n')
                if peer.recv(1) == b"":
                    gone.set()

    ready = threading.Event()
    thread = threading.Thread(target=loop)
    thread.start()
    assert ready.wait(10)
    stream = Client(Target("here", path=server.client.target.path + "2")).stream("GET", "/x")
    assert next(stream) == {"line": "one"}
    stream.close()  # type: ignore[attr-defined]
    assert gone.wait(10)
    thread.join()


def test_an_upgrade_keeps_what_came_with_the_head(server: Server) -> None:
    server.answer = [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: paas-attach\r\n\r\nframe"]
    sock, first = server.client.upgrade("/apps/a/runs/i1/attach")
    while piece := sock.recv(100):
        first += piece
    sock.close()
    assert first == b"frame"
    assert b"\r\nUpgrade: paas-attach\r\n" in server.requests[0]


def test_a_refused_upgrade_says_why(server: Server) -> None:
    body = json.dumps({"error": NotFound("There is no instance i9.").to_json()}).encode()
    server.answer = [plain(body, "404 Not Found")]
    with pytest.raises(NotFound, match="i9"):
        server.client.upgrade("/apps/a/runs/i9/attach")


@pytest.mark.parametrize("name", ["../x", "a/b", "a?b", "a b", "ü", "\udcff"])
def test_names_cannot_leave_their_part_of_a_path(name: str) -> None:
    escaped: Callable[[object], str] = part
    assert not set(escaped(name)) & set("/? ")


def test_a_file_is_sent_in_chunks_and_the_answer_is_a_stream(server: Server) -> None:
    server.answer = [plain(b'{"line": "on its way"}\n{"done": true, "result": {"release": 4}}\n')]
    messages = list(server.client.upload("/apps/a/deploy/archive", io.BytesIO(b"x" * 70_000), name="a b.tgz"))
    assert messages[-1]["result"] == {"release": 4}
    (request,) = server.requests
    head = request.partition(b"\r\n\r\n")[0]
    assert head.startswith(b"POST /v1/apps/a/deploy/archive?name=a+b.tgz HTTP/1.1")
    assert b"Transfer-Encoding: chunked" in head and b"Content-Length" not in head


def test_a_refusal_before_the_end_of_a_file_is_told(server: Server) -> None:
    refusal = {"error": {"code": "bad_input", "message": "Too large.", "hint": "", "cause": "", "lines": []}}
    server.answer = [plain(json.dumps(refusal).encode(), "422 Unprocessable")]
    endless = io.BytesIO(bytes(8 << 20))
    with pytest.raises(BadInput, match="Too large"):
        list(server.client.upload("/apps/a/deploy/archive", endless))
