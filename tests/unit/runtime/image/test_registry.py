"""The client of registries against servers that no registry should be like."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network

import pytest
from harness.registry import serving

from runtime.image.distribution import GZIP_LAYER, Blob, parse_reference
from runtime.image.errors import Damaged, ImageError, RegistryError
from runtime.image.exchange import MAX_JSON
from runtime.image.reach import Patience, Reach
from runtime.image.registry import Login, Registry

SECRET = "canary-2f9c"
BLOB = Blob(GZIP_LAYER, "sha256:" + "a" * 64, 3)
Answers = Callable[["Hostile"], None]


class Hostile(BaseHTTPRequestHandler):
    """Answers as `answers` says, and notes what it was asked."""

    answers: Answers
    asked: list[tuple[str, str, str | None]]

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _any(self) -> None:
        self.asked.append((self.command, self.path, self.headers.get("Authorization")))
        type(self).answers(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def log_message(self, format: str, *args: object) -> None:
        pass


def hostile(answers: Answers) -> type[Hostile]:
    return type("Answering", (Hostile,), {"answers": answers, "asked": []})


def client(port: int) -> Registry:
    return Registry(
        parse_reference(f"http://127.0.0.1:{port}/team/app"),
        reach=Reach([ip_network("127.0.0.0/8")]),
        patience=Patience(time.monotonic() + 20),
        login=Login("ann", SECRET),
    )


def fails(answers: Answers, what: Callable[[Registry], object]) -> ImageError:
    with serving(hostile(answers)) as port, pytest.raises(ImageError) as caught:
        what(client(port))
    assert SECRET not in str(caught.value)
    return caught.value


def manifest(registry: Registry) -> object:
    return registry.read_manifest("v1", "amd64")


def blob(registry: Registry) -> object:
    return registry.read_blob(BLOB, lambda piece: None)


def test_a_manifest_that_does_not_end_is_left() -> None:
    def endless(asked: Hostile) -> None:
        asked.answer(200, b" " * (MAX_JSON + 1))

    assert "larger than 4 MiB" in str(fails(endless, manifest))


@pytest.mark.parametrize("body", [b"", b"ab", b"abc", b"abcd" * 1000])
def test_bytes_that_are_not_the_blob_are_damaged(body: bytes) -> None:
    assert isinstance(fails(lambda asked: asked.answer(200, body), blob), Damaged)


def test_credentials_are_not_sent_to_where_a_read_is_redirected() -> None:
    elsewhere = hostile(lambda asked: asked.answer(200, b"abc"))
    with serving(elsewhere) as other:

        def redirecting(asked: Hostile) -> None:
            if not asked.headers.get("Authorization"):
                asked.answer(401, WWW_Authenticate='Basic realm="x"')
            else:
                asked.answer(307, Location=f"http://127.0.0.1:{other}/there?signed=1")

        kind = hostile(redirecting)
        with serving(kind) as port, pytest.raises(Damaged):
            blob(client(port))
    assert [authorization is not None for _, _, authorization in kind.asked] == [False, True]
    assert elsewhere.asked == [("GET", "/there?signed=1", None)]


def test_a_challenge_of_a_redirect_is_not_answered() -> None:
    elsewhere = hostile(lambda asked: asked.answer(401, WWW_Authenticate='Basic realm="x"'))
    with serving(elsewhere) as other:
        error = fails(lambda asked: asked.answer(302, Location=f"http://127.0.0.1:{other}/"), blob)
    assert "does not take this login" in str(error)
    assert elsewhere.asked == [("GET", "/", None)]


def test_a_circle_of_redirects_ends() -> None:
    assert "redirects more than" in str(fails(lambda asked: asked.answer(302, Location=asked.path), blob))


def test_a_write_is_not_redirected() -> None:
    error = fails(
        lambda asked: asked.answer(307, Location="/other"), lambda one: one.write_manifest("v1", b"{}")
    )
    assert isinstance(error, RegistryError) and error.status == 307


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("", "where an upload goes"),
        ("http://[::1", "address that is none"),
        ("http://127.0.0.1:99999/", "port that is none"),
        ("file:///etc/passwd", "not of the web"),
        ("http://192.168.0.1/x", "private network"),
        ("http://127.0.0.1:1/\x00", "broke"),
    ],
)
def test_an_upload_goes_to_no_place_that_is_not_allowed(location: str, words: str) -> None:
    headers = {"Location": location} if location else {}
    error = fails(
        lambda asked: asked.answer(202, **headers), lambda one: one.upload(BLOB, io.BytesIO(b"abc"))
    )
    assert words in str(error) or "cannot be reached" in str(error)


@pytest.mark.parametrize("realm", ["", "ftp://x/", "http://[::1", "http://169.254.169.254/latest"])
def test_a_token_is_asked_for_where_that_is_allowed_only(realm: str) -> None:
    error = fails(lambda asked: asked.answer(401, WWW_Authenticate=f'Bearer realm="{realm}"'), manifest)
    assert isinstance(error, RegistryError)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"token": 1}', b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}']
)
def test_what_is_no_token_is_not_sent(body: bytes) -> None:
    def answers(asked: Hostile) -> None:
        if asked.path.startswith("/token"):
            asked.answer(200, body)
        else:
            host = asked.headers["Host"]
            asked.answer(401, WWW_Authenticate=f'Bearer realm="http://{host}/token"')

    assert "without a token" in str(fails(answers, manifest))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300,
    ],
)
def test_what_is_not_http_is_told(raw: bytes) -> None:
    def answers(asked: Hostile) -> None:
        asked.wfile.write(raw)
        asked.close_connection = True

    assert isinstance(fails(answers, blob), ImageError)


def test_the_rest_of_a_blob_whose_connection_breaks_is_asked_for() -> None:
    data = bytes(range(256)) * 40
    blob = Blob(GZIP_LAYER, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    ranges: list[str | None] = []

    def answers(asked: Hostile) -> None:
        ranges.append(asked.headers.get("Range"))
        start = int((ranges[-1] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        asked.send_response(206 if start else 200)
        asked.send_header("Content-Length", str(len(data) - start))
        asked.end_headers()
        asked.wfile.write(data[start : start + 4000])

    found = bytearray()
    with serving(hostile(answers)) as port:
        client(port).read_blob(blob, found.extend)
    assert bytes(found) == data
    assert ranges == [None, "bytes=4000-", "bytes=8000-"]


def test_a_registry_that_never_sends_the_rest_is_given_up() -> None:
    blob = Blob(GZIP_LAYER, "sha256:" + "a" * 64, 10)
    asked: list[int] = []

    def answers(one: Hostile) -> None:
        asked.append(1)
        one.answer(
            206 if one.headers.get("Range") else 200, b"x" if len(asked) < 3 else b"", Content_Length="9"
        )

    error = fails(answers, lambda registry: registry.read_blob(blob, lambda data: None))
    assert isinstance(error, Damaged) and "2 of the 10 bytes" in str(error)
    assert len(asked) == 3


def test_a_registry_that_continues_for_ever_is_left() -> None:
    def answers(asked: Hostile) -> None:
        with contextlib.suppress(OSError):
            for _ in range(100_000):
                asked.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        asked.close_connection = True

    assert "too many headers" in str(fails(answers, manifest))


@pytest.mark.parametrize("status", [400, 401])
def test_a_registry_that_repeats_the_login_does_not_make_it_known(status: int) -> None:
    basic = Login("ann", SECRET).basic()

    def answers(asked: Hostile) -> None:
        if not asked.headers.get("Authorization"):
            asked.answer(401, WWW_Authenticate='Basic realm="x"')
        else:
            said = f"{'.' * 150}{basic} {SECRET}"
            asked.answer(status, json.dumps({"errors": [{"code": "NO", "message": said}]}).encode())

    error = str(fails(answers, manifest))
    assert "Basic ••• •••" in error and basic.split()[1][:8] not in error
