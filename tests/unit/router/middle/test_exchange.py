"""What backends answer, properly or not, and what the client gets of it."""

from __future__ import annotations

import pytest
from harness.router import End, Rig

from router.report.access import format_lines

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
VIA = b"Via: 1.1 paas-router\r\n"


def ask(rig: Rig, request: bytes = GET) -> End:
    client = rig.client()
    client.send(request)
    return client


def exchange(rig: Rig, answer: bytes, request: bytes = GET, *, close: bool = False) -> End:
    """A client whose request was answered with these bytes."""
    client = ask(rig, request)
    rig.backend.send(answer)
    if close:
        rig.backend.close()
    client.read()
    return client


def reused(rig: Rig) -> bool:
    """Whether the next request goes over the connection that answered the last one."""
    before = len(rig.dialled)
    ask(rig)
    return len(rig.dialled) == before


def test_a_response_passes_with_our_via(rig: Rig) -> None:
    client = exchange(
        rig, b"HTTP/1.1 201 Made It\r\nX-a: b\r\nContent-Length: 2\r\nSET-Cookie: c=d\r\n\r\nok"
    )
    assert client.got == (
        b"HTTP/1.1 201 Made It\r\nX-a: b\r\nContent-Length: 2\r\nSET-Cookie: c=d\r\n" + VIA + b"\r\nok"
    )
    assert not client.closed
    assert reused(rig)


def test_a_status_line_without_a_reason_gets_its_blank(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")
    assert client.got == b"HTTP/1.1 200 \r\nContent-Length: 0\r\n" + VIA + b"\r\n"


def test_hop_by_hop_lines_of_a_response_are_taken_out(rig: Rig) -> None:
    client = exchange(
        rig,
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-Note: Keep-Alive: timeout=5\r\n"
        b"Upgrade: h2c\r\nContent-Length: 0\r\n\r\n",
    )
    assert (
        client.got
        == b"HTTP/1.1 200 OK\r\nX-Note: Keep-Alive: timeout=5\r\nContent-Length: 0\r\n" + VIA + b"\r\n"
    )


def test_a_head_in_pieces(rig: Rig) -> None:
    client = ask(rig)
    for at in range(len(OK)):
        rig.backend.send(OK[at : at + 1])
    assert client.read().endswith(b"\r\n\r\nok")
    assert reused(rig)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"5;x=y\r\nhello\r\n1\r\n!\r\n00\r\nX-Sum: 1\r\n\r\n", b"6\r\nhello!\r\n0\r\nX-Sum: 1\r\n\r\n"),
        (b"0\r\n\r\n", b"0\r\n\r\n"),
    ],
)
def test_chunks_are_written_plainly(rig: Rig, answer: bytes, body: bytes) -> None:
    client = exchange(rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" + answer)
    assert client.got == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + VIA + b"\r\n" + body
    assert reused(rig)


def test_chunks_stream_as_they_come(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert client.take().endswith(b"\r\n\r\n")
    rig.backend.send(b"5\r\nhel")
    assert client.take() == b"3\r\nhel\r\n"
    rig.backend.send(b"lo\r\n")
    assert client.take() == b"2\r\nlo\r\n"
    rig.backend.send(b"0\r\n\r\n")
    assert client.take() == b"0\r\n\r\n"
    assert not client.closed


def test_chunks_are_taken_off_for_an_old_client(rig: Rig) -> None:
    client = exchange(
        rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", OLD
    )
    assert client.got == b"HTTP/1.1 200 OK\r\n" + VIA + b"Connection: close\r\n\r\nhello"
    assert client.closed


def test_a_body_until_close_becomes_chunks(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert client.take() == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + VIA + b"\r\n5\r\nhello\r\n"
    rig.backend.send(b" world")
    rig.backend.close()
    assert client.take() == b"6\r\n world\r\n0\r\n\r\n"
    assert not client.closed


def test_a_body_until_close_for_an_old_client(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.0 200 OK\r\n\r\nhello", OLD, close=True)
    assert client.got == b"HTTP/1.1 200 OK\r\n" + VIA + b"Connection: close\r\n\r\nhello"
    assert client.closed


def test_an_old_client_may_keep_its_connection(rig: Rig) -> None:
    client = exchange(rig, OK, b"GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n")
    assert b"\r\nConnection: keep-alive\r\n" in client.got
    assert not client.closed


def test_an_old_backend_is_not_used_again(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not client.closed
    assert not reused(rig)


def test_an_old_backend_that_keeps_alive_is_used_again(rig: Rig) -> None:
    exchange(rig, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
    assert reused(rig)


def test_a_backend_that_closes_is_not_used_again_and_the_client_does_not_see_it(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    assert b"close" not in client.got
    assert not client.closed
    assert not reused(rig)


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
def test_answers_without_a_body(rig: Rig, request_head: bytes, answer: bytes) -> None:
    client = exchange(rig, answer, request_head)
    assert client.got == answer[:-2] + VIA + b"\r\n"
    assert not client.closed
    assert reused(rig)


def test_head_of_a_chunked_answer(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HEAD)
    assert client.got == b"HTTP/1.1 200 OK\r\n" + VIA + b"\r\n"
    assert reused(rig)


def test_204_loses_its_length(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
    assert client.got == b"HTTP/1.1 204 No Content\r\n" + VIA + b"\r\n"


def test_interim_answers_are_relayed(rig: Rig) -> None:
    client = ask(
        rig, b"POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    rig.backend.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n" + VIA + b"\r\n"
    rig.backend.take()
    client.send(b"hi")
    assert rig.backend.take() == b"hi"
    rig.backend.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\n" + OK)
    assert client.take() == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
        + VIA
        + b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        + VIA
        + b"\r\nok"
    )
    assert reused(rig)


def test_interim_answers_are_kept_from_old_clients(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, OLD)
    assert client.got.count(b"HTTP/1.1") == 1


def test_a_refused_expectation_does_not_make_its_body_a_request(rig: Rig) -> None:
    client = exchange(
        rig,
        b"HTTP/1.1 413 Too Big\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 34\r\n\r\n",
    )
    assert (
        client.take() == b"HTTP/1.1 413 Too Big\r\nContent-Length: 0\r\n" + VIA + b"Connection: close\r\n\r\n"
    )
    before = len(rig.dialled)
    client.send(GET)
    assert client.read() == b"" and client.closed
    assert len(rig.dialled) == before


@pytest.mark.parametrize("value", [b"2", b"  2", b"\t2", b" 2 ", b" \t2\t ", b" 02", b"0000000000000002"])
@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
@pytest.mark.parametrize("request_head", [GET, OLD, HEAD])
def test_a_length_is_written_plainly(rig: Rig, name: bytes, value: bytes, request_head: bytes) -> None:
    """White space around it, and zeros before it, are allowed (RFC 9110 5.5 and 8.6)."""
    body = b"" if request_head is HEAD else b"ok"
    client = exchange(
        rig, b"HTTP/1.1 200 OK\r\n%b:%b\r\nX-A: b\r\n\r\n%b" % (name, value, body), request_head
    )
    end = b"Connection: close\r\n\r\n" if request_head is OLD else b"\r\n"
    assert client.got == b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n" + VIA + end + body
    assert reused(rig)


def test_a_length_where_there_is_no_body_is_no_matter(rig: Rig) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Length:05\r\n\r\n"
    client = exchange(rig, interim + b"HTTP/1.1 204 No Content\r\nContent-Length:05\r\n\r\n")
    assert (
        client.got
        == b"HTTP/1.1 103 Early Hints\r\n" + VIA + b"\r\nHTTP/1.1 204 No Content\r\n" + VIA + b"\r\n"
    )
    client = exchange(rig, b"HTTP/1.1 304 Not Modified\r\nContent-Length:05\r\n\r\n")
    assert client.got == b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n" + VIA + b"\r\n"


LONG = [
    [b"Set-Cookie: " + b"c" * 9_000],
    [b"Content-Security-Policy: " + b"p" * 60_000],
    [b"X-%d: " % number + b"v" * 8_700 for number in range(7)],
    [b"X-%d: " % number + b"v" * 600 for number in range(97)],
]


@pytest.mark.parametrize("lines", LONG, ids=["9000", "60000", "seven", "many"])
@pytest.mark.parametrize(
    "last", [b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
)
def test_lines_of_an_answer_may_be_as_long_as_its_head(rig: Rig, lines: list[bytes], last: bytes) -> None:
    block = b"".join(line + b"\r\n" for line in lines)
    for _ in range(2):
        client = exchange(
            rig, b"HTTP/1.1 103 Early Hints\r\n" + block + b"\r\nHTTP/1.1 200 OK\r\n" + block + last
        )
        assert client.got.count(block) == 2 and b"ok" in client.got and not client.closed
    assert len(rig.dialled) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, "the head is longer than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 101 + b"\r\n", "more than 100 header lines"),
        (b"HTTP/1.1 200 " + b"O" * 9000 + b"\r\n\r\n", "the status line is longer than 8192 bytes"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20, "more than 16 interim answers"),
        (b"HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n", "malformed header line"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 9000, "more than 8192 bytes of trailers"),
    ],
)  # fmt: skip
def test_the_log_says_what_was_wrong_with_an_answer(rig: Rig, answer: bytes, reason: str) -> None:
    exchange(rig, answer)
    [entry] = rig.log()
    assert entry.own_answer.log == f"Poorly formatted HTTP response: {reason}"
    rig.shared.access.entries.append(entry)
    logs: dict[str, list[bytes]] = {}
    format_lines(rig.shared.access.entries, logs)
    assert f'at=error code=H17 desc="Poorly formatted HTTP response: {reason}" '.encode() in b"".join(
        logs["a0"]
    )


BAD = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: \x0b2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length:02\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A: b\nSet-Cookie: x\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 101 + b"\r\n",
    b"HTTP/1.1 99 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"ICY 200 OK\r\n\r\n",
    b"<html>hello</html>\r\n\r\n",
    b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
]


@pytest.mark.parametrize("answer", BAD, ids=lambda answer: repr(answer[:60]))
def test_a_response_that_is_not_proper_becomes_502(rig: Rig, answer: bytes) -> None:
    client = exchange(rig, answer)
    final = client.got.rpartition(b"HTTP/1.1 5")[2]
    assert final.startswith(b"02 Bad Gateway\r\n")
    assert b"H17" in final
    assert b"Set-Cookie" not in client.got
    rig.backend.read()
    assert rig.backend.closed
    [entry] = rig.log()
    assert (entry.status, entry.own_answer.code) == (502, "H17")
    assert not client.closed, "the client's own request was in order"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
)
def test_a_truncated_response_is_never_a_clean_end(rig: Rig, answer: bytes) -> None:
    client = exchange(rig, answer, close=True)
    assert client.closed
    assert not client.got.endswith(b"0\r\n\r\n")
    [entry] = rig.log()
    assert (entry.status, entry.own_answer.code) == (200, "H18")


def test_a_bad_chunk_later_cuts_the_client_off(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    rig.backend.send(b"zz\r\n")
    assert client.read().endswith(b"5\r\nhello\r\n") and client.closed
    assert rig.log()[0].own_answer.code == "H17"


def test_more_bytes_than_the_length_are_dropped_with_the_connection(rig: Rig) -> None:
    client = exchange(rig, OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert client.got.endswith(b"\r\n\r\nok")
    rig.backend.read()
    assert rig.backend.closed
    client.take()
    client.send(GET)
    rig.backend.send(OK)
    assert client.take().endswith(b"\r\n\r\nok")


def test_unasked_bytes_on_a_pooled_connection_end_it(rig: Rig) -> None:
    client = exchange(rig, OK)
    first = rig.backend
    first.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    first.read()
    assert first.closed
    client.take()
    client.send(GET)
    assert rig.backend is not first
    rig.backend.send(OK)
    assert client.take().endswith(b"\r\n\r\nok")


def test_bytes_after_the_last_chunk_end_the_connection(rig: Rig) -> None:
    client = exchange(rig, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nevil")
    assert client.got.endswith(b"\r\n0\r\n\r\n")
    rig.backend.read()
    assert rig.backend.closed
