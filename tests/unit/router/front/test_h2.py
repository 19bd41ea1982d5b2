"""Requests and answers over HTTP/2: what the backend sees, what the client gets, what is refused."""

from __future__ import annotations

import gzip

import pytest
from harness.http2 import BASIC, PREFACE, Visitor, frame, literal, served
from harness.router import PORT, Rig, settle

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SENT_ON = (
    b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: %d\r\nVia: 1.1 paas-router\r\n"
    b"X-Request-Start: MS\r\nX-Request-Id: ID\r\n\r\n"
) % PORT
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0, 1, 2


def test_a_request_is_the_same_to_the_backend_as_one_of_http_1(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/a?b=%2e", (b"accept", b"*/*"), (b"te", b"trailers"), (b"x-empty", b""))
    assert settle(rig.backend.take()) == (
        b"GET /a?b=%2e HTTP/1.1\r\nhost: app.test\r\naccept: */*\r\nx-empty: \r\n" + SENT_ON
    )
    served(
        rig,
        b"HTTP/1.1 201 Made\r\nX-A: b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nhi",
    )
    visitor.flush()
    answer = visitor.answers[id]
    assert answer.fields == [
        (b":status", b"201"),
        (b"x-a", b"b"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"2"),
        (b"via", b"1.1 paas-router"),
    ]
    assert (answer.body, answer.ended, answer.reset) == (b"hi", True, None)
    (entry,) = rig.log()
    assert (entry.scheme, entry.status, entry.body_bytes, entry.target) == (b"h2", 201, 2, b"/a?b=%2e")
    assert not visitor.server.streams


def test_crumbs_of_a_cookie_are_put_together(rig: Rig) -> None:
    Visitor(rig).request(b"/", (b"cookie", b"a=1"), (b"x-b", b"c"), (b"cookie", b"b=2; c=3"))
    assert b"\r\nx-b: c\r\ncookie: a=1; b=2; c=3\r\n" in rig.backend.read()


def test_host_stands_in_for_a_missing_authority_and_may_repeat_it(rig: Rig) -> None:
    visitor = Visitor(rig)
    visitor.begin([BASIC[0], BASIC[1], BASIC[3], (b"host", b"app.test")])
    assert rig.backend.take().startswith(b"GET / HTTP/1.1\r\nhost: app.test\r\nX-Forwarded-For")
    visitor.begin([*BASIC, (b"host", b"App.test")])
    assert rig.backend.take().startswith(b"GET / HTTP/1.1\r\nhost: app.test\r\nX-Forwarded-For")


MALFORMED = {
    "no method": BASIC[1:],
    "no scheme": [BASIC[0], *BASIC[2:]],
    "no path": BASIC[:3],
    "empty path": [*BASIC[:3], (b":path", b"")],
    "path without slash": [*BASIC[:3], (b":path", b"a")],
    "absolute path": [*BASIC[:3], (b":path", b"http://app.test/")],
    "blank in path": [*BASIC[:3], (b":path", b"/a HTTP/1.1\r\nX: y")],
    "line end in path": [*BASIC[:3], (b":path", b"/a\r\nX: y")],
    "asterisk for GET": [*BASIC[:3], (b":path", b"*")],
    "line end in method": [(b":method", b"GET / HTTP/1.1\r\nX: y\r\n\r\nGET"), *BASIC[1:]],
    "foreign scheme": [BASIC[0], (b":scheme", b"ftp"), *BASIC[2:]],
    "doubled path": [*BASIC, (b":path", b"/b")],
    "doubled method": [BASIC[0], *BASIC],
    "unknown pseudo-header": [*BASIC, (b":protocol", b"websocket")],
    "status in a request": [*BASIC, (b":status", b"200")],
    "pseudo-header after others": [*BASIC[:3], (b"accept", b"*/*"), BASIC[3]],
    "another host": [*BASIC, (b"host", b"other.test")],
    "upper case": [*BASIC, (b"X-A", b"b")],
    "empty name": [*BASIC, (b"", b"b")],
    "blank in a name": [*BASIC, (b"x a", b"b")],
    "colon in a name": [*BASIC, (b"x:a", b"b")],
    "line end in a value": [*BASIC, (b"x-a", b"b\r\nx-c: d")],
    "line feed in a value": [*BASIC, (b"x-a", b"b\nx-c: d")],
    "NUL in a value": [*BASIC, (b"x-a", b"b\0")],
    "blank before a value": [*BASIC, (b"x-a", b" b")],
    "blank after a value": [*BASIC, (b"x-a", b"b\t")],
    "connection": [*BASIC, (b"connection", b"close")],
    "keep-alive": [*BASIC, (b"keep-alive", b"5")],
    "proxy-connection": [*BASIC, (b"proxy-connection", b"close")],
    "transfer-encoding": [*BASIC, (b"transfer-encoding", b"chunked")],
    "upgrade": [*BASIC, (b"upgrade", b"websocket")],
    "te other than trailers": [*BASIC, (b"te", b"gzip")],
    "a length and no body": [*BASIC, (b"content-length", b"5")],
    "a length that is none": [*BASIC, (b"content-length", b"+0")],
    "two lengths": [*BASIC, (b"content-length", b"0"), (b"content-length", b"1")],
    "CONNECT with a path": [(b":method", b"CONNECT"), *BASIC[2:]],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_request_resets_its_stream_and_no_other(
    rig: Rig, fields: list[tuple[bytes, bytes]]
) -> None:
    visitor = Visitor(rig)
    good = visitor.request(b"/good")
    backend = rig.backend
    bad = visitor.begin(fields)
    assert visitor.answers[bad].reset == PROTOCOL_ERROR
    assert rig.dialled == [backend]  # no other request went anywhere
    backend.send(OK)
    visitor.flush()
    assert visitor.answers[good].body == b"hello"
    assert visitor.goaway is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b":method", b"CONNECT"), (b":authority", b"app.test:443")], b"405"),
        ([BASIC[0], BASIC[1], BASIC[3]], b"400"),
        ([*BASIC[:2], (b":authority", b"user@app.test"), BASIC[3]], b"400"),
        ([*BASIC[:2], (b":authority", b""), BASIC[3]], b"400"),
        ([*BASIC[:2], (b":authority", b"other.test"), BASIC[3]], b"404"),
        ([*BASIC[:3], (b":path", b"/" + b"a" * 9000)], b"414"),
        ([*BASIC, (b"x-a", b"b" * 9000)], b"431"),
        ([*BASIC, *((b"x-%d" % n, b"y") for n in range(101))], b"431"),
        ([*BASIC, (b"expect", b"miracles")], b"417"),
    ],
)
def test_what_no_version_allows_is_answered_as_in_http_1(
    rig: Rig, fields: list[tuple[bytes, bytes]], status: bytes
) -> None:
    visitor = Visitor(rig)
    answer = visitor.answers[visitor.begin(fields)]
    assert (answer.status, answer.ended, answer.reset) == (status, True, None)
    assert b"connection" not in dict(answer.fields)
    assert not rig.dialled
    visitor.request()
    assert rig.dialled and visitor.goaway is None


def test_options_may_ask_for_the_server_as_a_whole(rig: Rig) -> None:
    Visitor(rig).begin([(b":method", b"OPTIONS"), *BASIC[1:3], (b":path", b"*")])
    assert rig.backend.read().startswith(b"OPTIONS * HTTP/1.1\r\nhost: app.test\r\n")


def test_fields_an_app_would_believe_are_dropped_as_in_http_1(rig: Rig) -> None:
    Visitor(rig).request(b"/", (b"x-forwarded-proto", b"ftp"), (b"x_a", b"1"), (b"proxy", b"evil"))
    assert settle(rig.backend.read()) == b"GET / HTTP/1.1\r\nhost: app.test\r\n" + SENT_ON


# bodies up


def test_a_body_with_a_length_goes_up_as_it_is(rig: Rig) -> None:
    visitor = Visitor(rig)
    body = bytes(range(256)) * 400
    visitor.request(b"/", (b"content-length", b"%d" % len(body)), method=b"POST", body=body)
    head, _, rest = rig.backend.read().partition(b"\r\n\r\n")
    assert b"content-length: 102400" in head and b"ransfer-" not in head
    assert rest == body


def test_a_body_without_a_length_goes_up_in_chunks_with_its_trailers(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/", method=b"POST", end=False)
    visitor.upload(id, b"hello")
    visitor.upload(id, b"you")
    visitor.h2.send_headers(
        id, [(b"x-sum", b"1"), (b"content-length", b"7"), (b"x_b", b"2")], end_stream=True
    )
    visitor.flush()
    head, _, rest = rig.backend.read().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert rest == b"5\r\nhello\r\n3\r\nyou\r\n0\r\nx-sum: 1\r\n\r\n"
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[id].status == b"200"


@pytest.mark.parametrize(
    "trailer", [(b":path", b"/"), (b"X", b"y"), (b"x", b"a\r\nb: c"), (b"connection", b"x")]
)
def test_malformed_trailers_reset_the_stream(rig: Rig, trailer: tuple[bytes, bytes]) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/", method=b"POST", end=False)
    visitor.h2.send_headers(id, [trailer], end_stream=True)
    visitor.flush()
    assert visitor.answers[id].reset == PROTOCOL_ERROR
    rig.backend.read()
    assert rig.backend.closed


@pytest.mark.parametrize("body", [b"hell", b"hello!", b""])
def test_a_body_that_is_not_as_long_as_announced_resets_the_stream(rig: Rig, body: bytes) -> None:
    visitor = Visitor(rig)
    other = visitor.request(b"/other")
    kept = rig.backend
    id = visitor.request(b"/", (b"content-length", b"5"), method=b"POST", end=False)
    visitor.end.send(frame(0, 1, id, body))
    visitor.flush()
    assert visitor.answers[id].reset == PROTOCOL_ERROR
    rig.backend.read()
    assert rig.backend.closed  # the request was never complete
    kept.send(OK)
    visitor.flush()
    assert visitor.answers[other].ended


def test_a_short_body_that_ends_in_trailers_is_no_body(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/", (b"content-length", b"5"), method=b"POST", end=False)
    visitor.upload(id, b"hell")
    visitor.h2.send_headers(id, [(b"x", b"y")], end_stream=True)
    visitor.flush()
    assert visitor.answers[id].reset == PROTOCOL_ERROR


def test_an_answer_before_the_body_is_complete_stops_the_upload(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/", method=b"POST", end=False)
    visitor.upload(id, b"a" * 1000)
    served(rig, b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")
    visitor.flush()
    answer = visitor.answers[id]
    assert (answer.status, answer.body, answer.ended, answer.reset) == (b"413", b"no", True, NO_ERROR)
    rig.backend.read()
    assert rig.backend.closed
    assert [entry.status for entry in rig.log()] == [413]
    second = visitor.request()
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[second].ended


def test_a_limit_of_the_app_on_bodies_holds(rig: Rig) -> None:
    rig.set_table(("i1",), body_limit_bytes=1000)
    visitor = Visitor(rig)
    long = visitor.request(b"/", (b"content-length", b"1001"), method=b"POST", end=False)
    chunked = visitor.request(b"/", method=b"POST", body=b"a" * 1001)
    for id in (long, chunked):
        assert (visitor.answers[id].status, visitor.answers[id].ended) == (b"413", True)
    assert visitor.answers[long].reset == NO_ERROR


def test_expectations_and_interim_answers_pass(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/", (b"expect", b"100-continue"), method=b"POST", end=False)
    assert b"Expect: 100-continue\r\n" in rig.backend.read()
    served(rig, b"HTTP/1.1 100 Continue\r\n\r\n")
    visitor.flush()
    assert [fields[0] for fields in visitor.answers[id].interims] == [(b":status", b"100")]
    visitor.upload(id, b"body", end=True)
    served(rig, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    visitor.flush()
    assert visitor.answers[id].interims[1] == [
        (b":status", b"103"),
        (b"link", b"</a>"),
        (b"via", b"1.1 paas-router"),
    ]
    assert (visitor.answers[id].status, visitor.answers[id].body) == (b"200", b"hello")


# answers


@pytest.mark.parametrize(
    ("method", "response", "length"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"5"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"5"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"0"),
    ],
)
def test_an_answer_without_a_body_is_one_frame(
    rig: Rig, method: bytes, response: bytes, length: bytes | None
) -> None:
    visitor = Visitor(rig)
    id = visitor.request(method=method)
    served(rig, response)
    visitor.flush()
    answer = visitor.answers[id]
    assert (answer.body, answer.ended, visitor.order) == (b"", True, [])
    assert dict(answer.fields).get(b"content-length") == length


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Sum: 9\r\nHost: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200\r\n\r\nhello",
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_every_framing_of_an_answer_becomes_data(rig: Rig, response: bytes, piece: int) -> None:
    visitor = Visitor(rig)
    id = visitor.request()
    for at in range(0, len(response), piece):
        rig.backend.send(response[at : at + piece])
    if b"ength" not in response and b"chunked" not in response:
        assert not visitor.answers[id].ended
        rig.backend.close()
    visitor.flush()
    answer = visitor.answers[id]
    assert (answer.status, answer.body, answer.ended, answer.reset) == (b"200", b"hello", True, None)
    assert answer.trailers == ([(b"x-sum", b"9")] if b"chunked" in response else [])
    assert not {b"connection", b"transfer-encoding", b"keep-alive", b"x-hop"} & {
        name for name, _ in answer.fields
    }


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz",
    ],
)
def test_a_body_that_breaks_off_never_ends_cleanly(rig: Rig, response: bytes) -> None:
    visitor = Visitor(rig)
    other = visitor.request(b"/other")
    kept = rig.backend
    id = visitor.request()
    rig.backend.send(response)
    rig.backend.close()
    visitor.flush()
    answer = visitor.answers[id]
    assert (answer.status, answer.body, answer.ended, answer.reset) == (
        b"200",
        b"hello",
        False,
        INTERNAL_ERROR,
    )
    assert [entry.own_answer.code for entry in rig.log()] in (["H18"], ["H17"])
    kept.send(OK)
    visitor.flush()
    assert visitor.answers[other].ended


@pytest.mark.parametrize(
    ("response", "status", "code"),
    [
        (b"junk\r\n\r\n", b"502", "H17"),
        (b"", b"503", "H13"),
        (b"HTTP/1.1 101 Up\r\nUpgrade: websocket\r\n\r\n", b"502", "H17"),
    ],
)
def test_a_backend_that_does_not_answer_properly_becomes_an_error_page(
    rig: Rig, response: bytes, status: bytes, code: str
) -> None:
    visitor = Visitor(rig)
    id = visitor.request()
    if response:
        rig.backend.send(response)
    rig.backend.close()
    visitor.flush()
    answer = visitor.answers[id]
    assert (answer.status, answer.ended, answer[b"cache-control"]) == (status, True, b"no-store")
    assert code.encode() in answer.body
    assert [entry.own_answer.code for entry in rig.log()] == [code]


def test_answers_are_compressed_where_the_app_asks_for_it(rig: Rig) -> None:
    rig.set_table(("i1",), compress=True)
    visitor = Visitor(rig)
    text = b"again and again " * 10_000
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text)
    id = visitor.request(b"/", (b"accept-encoding", b"gzip"))
    for at in range(0, len(head + text), 30_000):
        rig.backend.send((head + text)[at : at + 30_000])
    visitor.flush()
    answer = visitor.answers[id]
    assert (answer[b"content-encoding"], gzip.decompress(answer.body), answer.ended) == (b"gzip", text, True)
    assert b"content-length" not in dict(answer.fields)


def test_connections_to_backends_are_kept_between_streams(rig: Rig) -> None:
    visitor = Visitor(rig)
    for _ in range(5):
        id = visitor.request()
        served(rig, OK)
        visitor.flush()
        assert visitor.answers[id].ended
    assert len(rig.dialled) == 1


def test_a_refusing_backend_is_passed_over(pair: Rig) -> None:
    pair.refusing["i1"] = 111
    visitor = Visitor(pair)
    ids = [visitor.request(b"/%d" % n) for n in range(4)]
    assert {end.backend for end in pair.dialled} == {"i2"}
    for end in pair.dialled:
        end.send(OK)
    visitor.flush()
    assert all(visitor.answers[id].status == b"200" for id in ids)


def test_a_client_that_resets_its_stream_lets_the_backend_go(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request()
    visitor.reset(id)
    rig.backend.read()
    assert rig.backend.closed
    (entry,) = rig.log()
    assert (entry.status, entry.own_answer.code) == (499, "H27")
    assert rig.shared.backends["i1"].inflight == 0 and not visitor.server.streams
    second = visitor.request()
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[second].ended


def test_a_request_that_was_reset_in_the_same_breath_reaches_no_backend(rig: Rig) -> None:
    visitor = Visitor(rig)
    visitor.end.send(frame(1, 5, 1, literal(BASIC)) + frame(3, 0, 1, (8).to_bytes(4, "big")))
    assert not rig.dialled and not visitor.server.streams


def test_a_client_that_goes_away_takes_all_its_requests_along(rig: Rig) -> None:
    visitor = Visitor(rig)
    for n in range(3):
        visitor.request(b"/%d" % n)
    visitor.end.close()
    assert [(entry.status, entry.own_answer.code) for entry in rig.log()] == [(499, "H27")] * 3
    assert rig.shared.backends["i1"].inflight == 0 and not rig.shared.clients


def test_policies_and_gates_hold_for_streams(rig: Rig) -> None:
    rig.set_table(("i1",), maintenance=True)
    visitor = Visitor(rig)
    answer = visitor.answers[visitor.request()]
    assert (answer.status, answer[b"retry-after"]) == (b"503", b"60")
    rig.set_table(("i1",), canonical_host="www.app.test")
    moved = visitor.answers[visitor.request(b"/a")]
    assert (moved.status, moved[b"location"]) == (b"301", b"https://www.app.test:%d/a" % PORT)
    rig.set_table(("i1",), pause=True)
    id = visitor.request(b"/", method=b"POST", body=b"a" * 100_000)
    assert not rig.dialled and visitor.answers[id].status == b""
    rig.set_table(("i1",))
    visitor.flush()
    sent = 65535
    assert visitor.upload(id, b"a" * (100_000 - sent), end=True) == 100_000 - sent
    assert rig.backend.read().count(b"a" * 10) > 9_000
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[id].status == b"200"


def test_one_request_in_flight_and_the_others_wait(rig: Rig) -> None:
    rig.set_table(("i1",), max_inflight=1)
    visitor = Visitor(rig)
    ids = [visitor.request(b"/%d" % n) for n in range(3)]
    for n, id in enumerate(ids):
        assert rig.backend.take().startswith(b"GET /%d " % n)
        served(rig, OK)
        visitor.flush()
        assert visitor.answers[id].ended


# time


def test_an_answer_that_takes_too_long_is_an_error_page_of_its_stream(rig: Rig) -> None:
    visitor = Visitor(rig)
    slow = visitor.request(b"/slow")
    rig.advance(20)
    later = visitor.request(b"/later")
    rig.advance(11)
    visitor.flush()
    assert visitor.answers[slow].status == b"503"
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[later].body == b"hello"
    assert [entry.own_answer and entry.own_answer.code for entry in rig.log()] == ["H12", None]


def test_an_upload_that_stops_is_given_up(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/", method=b"POST", end=False)
    visitor.upload(id, b"a")
    rig.advance(60)
    visitor.flush()
    assert (visitor.answers[id].status, visitor.answers[id].reset) == (b"408", NO_ERROR)


def test_an_idle_connection_is_said_goodbye_to(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request()
    served(rig, OK)
    visitor.flush()
    rig.advance(30)
    visitor.h2.ping(b"12345678")  # is no use of the connection
    visitor.flush()
    assert visitor.goaway is None
    assert visitor.answers[id].ended
    rig.advance(32)
    assert visitor.end.take() == goaway(2**31 - 1) + frame(6, 0, 0, b"farewell")
    visitor.end.send(frame(6, 1, 0, b"farewell"))
    assert visitor.end.take() == goaway(id) and visitor.closed
    visitor.end.sock.close()
    rig.advance(3)
    assert not rig.shared.clients


def goaway(last: int) -> bytes:
    """One without an error."""
    return frame(7, 0, 0, last.to_bytes(4, "big") + bytes(4))


@pytest.mark.parametrize("answers", [True, False], ids=["the PING comes back", "it does not"])
def test_a_drain_takes_what_is_under_way_and_then_no_more(rig: Rig, answers: bool) -> None:
    """RFC 9113 6.8: a client that does not repeat what was refused loses nothing."""
    visitor = Visitor(rig)
    id = visitor.request(b"/", method=b"POST", end=False)
    visitor.end.take()
    rig.upkeep.start_drain()
    rig.advance(1)
    assert visitor.end.take() == goaway(2**31 - 1) + frame(6, 0, 0, b"farewell")
    visitor.end.send(frame(1, 5, 5, literal(BASIC)))  # sent before the GOAWAY came
    served(rig, OK)
    assert b"hello" in visitor.end.take()
    if answers:
        visitor.end.send(frame(6, 1, 0, b"farewell"))
    else:
        rig.advance(4)
    assert visitor.end.take() == goaway(5)
    visitor.end.send(frame(1, 5, 7, literal(BASIC)))
    assert visitor.end.take() == frame(3, 0, 7, (7).to_bytes(4, "big"))  # REFUSED_STREAM
    assert not visitor.closed and len(rig.dialled) == 2
    visitor.end.send(frame(0, 1, id, b"body"))
    rig.dialled[0].send(OK)
    assert b"hello" in visitor.end.read() and visitor.closed
    visitor.end.sock.close()
    rig.advance(3)
    assert rig.shared.loop.stopped


def test_a_client_that_says_goodbye_still_gets_its_answers(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request()
    visitor.end.send(frame(7, 0, 0, bytes(8)))
    assert not visitor.closed
    served(rig, OK)
    visitor.read()
    assert visitor.answers[id].body == b"hello"
    assert visitor.closed


def test_a_drain_that_takes_too_long_ends_streams(rig: Rig) -> None:
    visitor = Visitor(rig)
    visitor.request()
    rig.upkeep.start_drain()
    rig.advance(31)
    assert visitor.closed and rig.shared.backends["i1"].inflight == 0


def test_what_is_no_http_2_is_told_so(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    assert b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01" in visitor.end.read()  # GOAWAY, PROTOCOL_ERROR
    assert visitor.closed and not rig.dialled


def test_settings_say_what_is_offered(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE)
    data = visitor.end.read()
    settings = {
        int.from_bytes(data[at : at + 2], "big"): int.from_bytes(data[at + 2 : at + 6], "big")
        for at in range(9, 9 + int.from_bytes(data[:3], "big"), 6)
    }
    assert (settings[2], settings[3], settings[6]) == (0, 100, 48 * 1024)  # no push, streams, fields
