"""HTTP/2 under load and attack: windows, fairness, bounded buffers, floods; and any split of the same bytes."""

from __future__ import annotations

import contextlib
import gc
import io
import socket
import tracemalloc
from itertools import pairwise

import pytest
from harness.http2 import (
    BASIC,
    CONTINUATION,
    DATA,
    HEAD,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Visitor,
    codes,
    frame,
    literal,
    served,
)
from harness.router import ADDRESS, PORT, End, Rig
from hypothesis import given, settings
from hypothesis import strategies as st

from router.front.client_limits import IdleEviction
from router.front.h2 import Http2Connection
from router.front.h2frames import ClientFrames
from router.front.h2stream import Http2Stream
from router.front.h2writer import Flow, FrameWriter

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
END_STREAM, END_HEADERS = 1, 4
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, REFUSED_STREAM, CANCEL, CALM = 5, 7, 8, 11
RESET = CANCEL.to_bytes(4, "big")


def pour(visitor: Visitor, backend: End, data: bytes) -> None:
    """Send from a backend while the client reads."""
    view = memoryview(data)
    while view:
        try:
            view = view[backend.sock.send(view) :]
        except BlockingIOError:
            visitor.flush()
    visitor.flush()


def stuff(rig: Rig, backend: End, data: bytes) -> int:
    """Send from a backend as much as the router takes; how many bytes."""
    sent = 0
    while sent < len(data):
        try:
            sent += backend.sock.send(memoryview(data)[sent:])
        except BlockingIOError:
            before = sent
            rig.run()
            try:
                sent += backend.sock.send(memoryview(data)[sent:])
            except BlockingIOError:
                if sent == before:
                    return sent
    return sent


# windows and turns


def test_large_bodies_both_ways(rig: Rig) -> None:
    visitor = Visitor(rig)
    big = bytes(range(251)) * 8000
    id = visitor.request(b"/", (b"content-length", b"%d" % len(big)), method=b"POST", end=False)
    sent, got = 0, b""
    while sent < len(big):
        sent += visitor.upload(id, big[sent : sent + 40_000])
        got += rig.backend.take()
    visitor.h2.end_stream(id)
    visitor.flush()
    got += rig.backend.take()
    assert got.partition(b"\r\n\r\n")[2] == big
    pour(visitor, rig.backend, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(big), big))
    assert (visitor.answers[id].body, visitor.answers[id].ended) == (big, True)
    assert visitor.answers[id].reset is None


@pytest.mark.parametrize("chunked", [False, True])
def test_a_stream_that_is_not_read_stops_its_backend_and_nothing_else(rig: Rig, chunked: bool) -> None:
    visitor = Visitor(rig)
    visitor.h2.increment_flow_control_window(1 << 20)
    slow = visitor.request(b"/slow")
    visitor.lazy.add(slow)
    backend = rig.backend
    big = b"z" * (8 << 20)
    if chunked:
        backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(big), big)
    else:
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(big))
        body = big
    sent = stuff(rig, backend, body)
    visitor.flush()
    assert sent < 2 << 20  # what socket buffers hold, and one read
    assert len(visitor.answers[slow].body) == 65535
    assert len(visitor.server.streams[slow].out or b"") <= 80 * 1024
    for n in range(20):
        id = visitor.request(b"/%d" % n)
        served(rig, OK)
        visitor.flush()
        assert visitor.answers[id].body == b"hello"
    visitor.lazy.clear()
    visitor.h2.acknowledge_received_data(65535, slow)
    visitor.flush()
    pour(visitor, backend, body[sent:])
    assert visitor.answers[slow].body == big and visitor.answers[slow].ended


def test_a_connection_window_that_is_shut_lets_heads_through(rig: Rig) -> None:
    visitor = Visitor(rig)
    big = visitor.request(b"/big")
    visitor.lazy.add(big)
    pour(visitor, rig.backend, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"z" * 100_000)
    assert len(visitor.answers[big].body) == 65535
    empty = visitor.request(method=b"HEAD")
    served(rig, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    visitor.flush()
    assert visitor.answers[empty].ended
    full = visitor.request()
    served(rig, OK)
    visitor.flush()
    assert (visitor.answers[full].status, visitor.answers[full].body) == (b"200", b"")
    visitor.h2.acknowledge_received_data(65535, big)
    visitor.flush()
    assert visitor.answers[full].ended


def test_settings_open_the_windows_of_streams_that_wait(rig: Rig) -> None:
    visitor = Visitor(rig, window=0)
    id = visitor.request()
    visitor.lazy.add(id)
    served(rig, OK)
    visitor.flush()
    assert (visitor.answers[id].status, visitor.answers[id].body) == (b"200", b"")
    visitor.h2.update_settings({4: 2})
    visitor.flush()
    assert visitor.answers[id].body == b"he"
    visitor.h2.update_settings({4: 100})
    visitor.flush()
    assert visitor.answers[id].ended


def test_streams_take_turns(rig: Rig) -> None:
    visitor = Visitor(rig, window=1 << 24)
    visitor.h2.increment_flow_control_window(1 << 24)
    visitor.flush()
    ids = [visitor.request(b"/%d" % n) for n in range(4)]
    sent = []
    for backend in rig.dialled:
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")
        sent.append(stuff(rig, backend, bytes(4_000_000)))  # the client does not read yet
    small = visitor.request(b"/small", send=False)
    visitor.end.send(visitor.h2.data_to_send())
    served(rig, OK)
    for _ in range(10):
        for number, backend in enumerate(rig.dialled[:4]):
            sent[number] += stuff(rig, backend, bytes(4_000_000 - sent[number]))
        visitor.flush()
    first = visitor.order.index(ids[3])
    turns = visitor.order[first : first + 60]
    assert all(turns.count(id) >= 8 for id in ids), turns
    assert visitor.order.index(small) < first + 30


def test_a_hundred_requests_at_once(rig: Rig) -> None:
    visitor = Visitor(rig)
    ids = [visitor.request(b"/%d" % n, send=False) for n in range(100)]
    visitor.flush()
    assert len(rig.dialled) == 100
    for backend in reversed(rig.dialled):
        path = backend.read().split()[1]
        backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))
    visitor.flush()
    assert [visitor.answers[id].body for id in ids] == [b"/%d" % n for n in range(100)]
    assert not visitor.server.streams


def test_a_slow_backend_stops_its_upload_and_no_other(rig: Rig) -> None:
    visitor = Visitor(rig)
    slow = visitor.request(b"/slow", method=b"POST", end=False)
    backend = rig.backend
    sent = 0
    while part := visitor.upload(slow, b"a" * 100_000):  # the backend reads nothing of it
        sent += part
    assert sent < 3 << 20  # what socket buffers hold, and one window
    other = visitor.request(b"/other", method=b"POST", body=b"b" * 200_000)
    assert b"/other" in rig.backend.read()
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[other].ended
    got = 0
    while data := backend.take():
        got += data.count(b"a" * 10)
        rig.run()
    assert got >= sent // 11
    visitor.flush()
    assert visitor.h2.local_flow_control_window(slow) > 32768


def test_what_comes_for_a_stream_that_is_over_does_not_use_up_the_window(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(b"/", method=b"POST", end=False)
    served(rig, b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")  # and the client has not read that yet
    body = b"a" * 16384
    for _ in range(200):
        visitor.end.send(frame(DATA, 0, id, body))
        data = visitor.end.take()
        assert codes(data)[0] is None
    second = Visitor(rig)
    assert second.goaway is None


# floods


def test_streams_beyond_the_limit_are_refused(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE + b"".join(frame(HEADERS, 5, id, HEAD) for id in range(1, 241, 2)))
    data = visitor.end.read()
    refused = frame(RST_STREAM, 0, 1, REFUSED_STREAM.to_bytes(4, "big"))
    assert data.count(refused[:5]) == 20 == data.count(refused[-4:])
    assert codes(data)[0] is None and len(rig.dialled) == 100


def test_far_too_many_streams_end_the_connection(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE + b"".join(frame(HEADERS, 5, id, HEAD) for id in range(1, 1001, 2)))
    assert codes(visitor.end.read())[0] == PROTOCOL_ERROR
    assert visitor.closed and not rig.shared.backends["i1"].inflight


def flood(rig: Rig, frames: list[bytes], before: bytes = b"") -> int:
    """How many of these frames are taken until the connection ends with ENHANCE_YOUR_CALM."""
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE + before)
    for number, data in enumerate(frames):
        visitor.end.send(data)
        if visitor.closed:
            assert codes(visitor.end.read())[0] == CALM
            assert not rig.shared.backends["i1"].inflight
            return number
    raise AssertionError("it went on for ever")


def test_rapid_resets_end_the_connection(rig: Rig) -> None:
    pairs = [frame(HEADERS, 5, id, HEAD) + frame(RST_STREAM, 0, id, RESET) for id in range(1, 2001, 2)]
    assert 150 <= flood(rig, pairs) <= 250
    assert not rig.dialled


def test_resets_of_requests_that_have_begun_end_the_connection_too(rig: Rig) -> None:
    halves = []
    for id in range(1, 2001, 2):
        halves += [frame(HEADERS, 5, id, HEAD), frame(RST_STREAM, 0, id, RESET)]
    assert 300 <= flood(rig, halves) <= 500
    for backend in rig.dialled:
        backend.read()
    assert all(backend.closed for backend in rig.dialled)
    assert {entry.status for entry in rig.log()} == {499}


def test_requests_that_make_us_reset_them_end_the_connection(rig: Rig) -> None:
    bad = [frame(HEADERS, 5, id, literal([*BASIC, (b"connection", b"x")])) for id in range(1, 2001, 2)]
    assert 150 <= flood(rig, bad) <= 250
    overflow = [
        frame(HEADERS, 5, id, HEAD) + frame(WINDOW_UPDATE, 0, id, (0x7FFFFFFF).to_bytes(4, "big"))
        for id in range(1, 2001, 2)
    ]
    assert 100 <= flood(rig, overflow) <= 250


def test_some_resets_over_time_are_ordinary(rig: Rig) -> None:
    visitor = Visitor(rig)
    for _ in range(30):
        for _ in range(15):
            visitor.reset(visitor.request())
        rig.now += 1.0
        rig.run()
    assert visitor.goaway is None
    id = visitor.request()
    served(rig, OK)
    visitor.flush()
    assert visitor.answers[id].ended


@pytest.mark.parametrize(
    "one",
    [
        frame(PING, 0, 0, b"12345678"),
        frame(SETTINGS, 0, 0),
        frame(SETTINGS, 0, 0, b"\xff\xff\0\0\0\1"),
        frame(PRIORITY, 0, 1, b"\0\0\0\0\1"),
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
        frame(DATA, 0, 1),
        frame(200, 0, 0, b"x"),
        frame(RST_STREAM, 0, 1, RESET),
    ],
)
def test_frames_that_carry_nothing_end_the_connection(rig: Rig, one: bytes) -> None:
    begun = frame(HEADERS, END_HEADERS, 1, literal([(b":method", b"POST"), *BASIC[1:]]))
    assert 15 <= flood(rig, [one * 100] * 100, begun) <= 21


def test_one_who_takes_a_byte_at_a_time_is_sent_away(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE + frame(SETTINGS, 0, 0, b"\0\4" + bytes(4)) + frame(HEADERS, 5, 1, HEAD))
    stuff(rig, rig.backend, b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + bytes(90_000))
    count = 0
    while not visitor.closed:
        visitor.end.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
        count += 1
        assert count < 2100
    assert codes(visitor.end.read())[0] == CALM


def test_one_who_acknowledges_each_of_many_small_messages_is_not(rig: Rig) -> None:
    visitor = Visitor(rig)
    visitor.request()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3000):
        rig.backend.send(b"4\r\ntick\r\n")
        visitor.end.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\4") + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\4"))
        assert codes(visitor.end.take())[0] is None


def test_one_who_sends_a_body_byte_by_byte_without_end_is_sent_away(rig: Rig) -> None:
    begun = frame(HEADERS, END_HEADERS, 1, literal([(b":method", b"POST"), *BASIC[1:]]))
    assert 70 <= flood(rig, [frame(DATA, 0, 1, b"x") * 100] * 200, begun) <= 85


def test_one_who_sends_small_messages_as_people_type_is_not(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request(method=b"POST", end=False)
    for _ in range(10_000):
        rig.now += 0.01
        visitor.end.send(frame(DATA, 0, id, b"tick"))
        assert rig.backend.take().endswith(b"4\r\ntick\r\n")
    assert codes(visitor.end.take())[0] is None


def test_replies_to_one_who_does_not_read_are_bounded(rig: Rig) -> None:
    rig.shared.limits.keep_alive_s = 1e9
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE)
    ping = frame(PING, 0, 0, b"12345678") * 100
    sent = 0
    for _ in range(2000):
        try:
            sent += visitor.end.sock.send(ping)
        except BlockingIOError:
            break
        rig.now += 0.5  # in the pace of a patient one
        rig.run()
    assert len(visitor.server.out or b"") <= 256 * 1024 + 65536
    assert sent < 4 << 20


def test_unknown_settings_are_not_kept(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    many = b"".join(code.to_bytes(2, "big") + b"\0\0\0\1" for code in range(100, 2800))
    visitor.end.send(PREFACE + frame(SETTINGS, 0, 0, many))  # and what the process remembers for ever
    tracemalloc.start()
    try:
        visitor.end.send(frame(SETTINGS, 0, 0, many))
        assert tracemalloc.get_traced_memory()[0] < 8192
    finally:
        tracemalloc.stop()
    assert codes(visitor.end.read())[0] is None


def test_a_table_of_fields_that_the_client_wishes_larger_stays_small(rig: Rig) -> None:
    visitor = Visitor(rig)
    visitor.h2.update_settings({1: 1 << 30})
    visitor.flush()
    for n in range(200):
        id = visitor.request()
        served(rig, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-%d: %b\r\n\r\n" % (n, b"y" * 1000))
        visitor.flush()
        assert visitor.answers[id][b"x-%d" % n] == b"y" * 1000
    assert visitor.server.writer.encoder.size <= 4096


def test_a_head_in_endless_continuations_ends_the_connection(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE + frame(HEADERS, END_STREAM, 1, HEAD))
    sent = 0
    while not visitor.closed:
        sent += 1
        assert sent < 100
        visitor.end.send(frame(CONTINUATION, 0, 1))
    assert codes(visitor.end.read())[0] == PROTOCOL_ERROR


def test_a_head_that_unpacks_to_much_ends_the_connection(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    long = b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000  # into the table of the decoder, then named again and again
    visitor.end.send(PREFACE + frame(HEADERS, 5, 1, HEAD + long + b"\xbe" * 100))
    assert codes(visitor.end.read())[0] == CALM
    assert visitor.closed and not rig.dialled


def test_more_data_than_the_window_allows_is_an_error(rig: Rig) -> None:
    rig.set_table(("i1",), pause=True)
    visitor = Visitor(rig)
    id = visitor.request(b"/", method=b"POST", end=False)
    for _ in range(5):
        visitor.end.send(frame(DATA, 0, id, bytes(16384)))
    assert codes(visitor.end.read())[0] == FLOW_CONTROL_ERROR


def test_what_comes_after_the_end_of_a_request_resets_its_stream(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request()
    visitor.end.send(frame(DATA, 0, id, b"more"))
    visitor.read()
    assert visitor.answers[id].reset == STREAM_CLOSED and visitor.goaway is None
    rig.backend.read()
    assert rig.backend.closed


def test_a_client_that_never_says_anything_is_let_go(rig: Rig) -> None:
    visitor = Visitor(rig, hello=False)
    rig.advance(65)
    assert visitor.closed
    visitor.end.sock.close()
    rig.advance(3)
    assert not rig.shared.clients


def test_an_idle_connection_is_given_up_with_a_goodbye_and_a_busy_one_is_not(rig: Rig) -> None:
    idle, busy = Visitor(rig), Visitor(rig)
    id = busy.request()
    rig.advance(2)
    assert IdleEviction(rig.shared).evict() and rig.shared.metrics.given_up == 1
    rig.run()
    idle.read()
    assert (idle.goaway, idle.closed, busy.closed) == (NO_ERROR, True, False)
    rig.backend.send(OK)
    busy.read()
    assert busy.answers[id].status == b"200" and busy.goaway is None


def test_a_client_that_never_reads_is_given_up(rig: Rig) -> None:
    visitor = Visitor(rig)
    id = visitor.request()
    visitor.lazy.add(id)
    stuff(rig, rig.backend, b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(9_000_000))
    rig.advance(57)
    visitor.read()
    assert visitor.answers[id].reset == INTERNAL_ERROR and not visitor.answers[id].ended
    assert [entry.own_answer.code for entry in rig.log()] == ["H27"]
    assert rig.shared.backends["i1"].inflight == 0


def test_a_connection_that_is_over_leaves_no_garbage(rig: Rig) -> None:
    visitor = Visitor(rig)
    for number in range(4):
        id = visitor.request(method=b"POST", body=b"a")
        if number == 2:
            visitor.reset(id)
        elif number < 2:
            served(rig, OK)
            visitor.flush()
    visitor.end.close()
    del visitor
    gc.collect()  # what tests and the client's library leave
    gc.disable()
    try:
        visitor = Visitor(rig)
        visitor.request()
        assert len(alive()) == 5
        visitor.end.close()
        del visitor.server
        assert alive() == []
    finally:
        gc.enable()


def alive() -> list[object]:
    """What the router holds of connections of HTTP/2 at present."""
    kinds = (Http2Connection, Http2Stream, ClientFrames, FrameWriter, Flow)
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


# splits


STREAM = b"".join(
    [
        PREFACE,
        frame(SETTINGS, 1, 0),
        frame(WINDOW_UPDATE, 0, 0, b"\0\1\0\0"),
        frame(
            HEADERS, END_HEADERS, 1, literal([(b":method", b"POST"), *BASIC[1:], (b"content-length", b"8")])
        ),
        frame(HEADERS, END_STREAM, 3, literal(BASIC[:2])),
        frame(CONTINUATION, 0, 3, literal(BASIC[2:3])),
        frame(CONTINUATION, END_HEADERS, 3, literal(BASIC[3:])),
        frame(DATA, 8, 1, b"\3bodypad"),
        frame(PING, 0, 0, b"12345678"),
        frame(HEADERS, END_HEADERS, 5, literal([(b":method", b"PUT"), *BASIC[1:]])),
        frame(DATA, 0, 5, b"abc"),
        frame(DATA, END_STREAM, 1, b"body"),
        frame(HEADERS, 5, 7, literal([*BASIC, (b"connection", b"x")])),
        frame(DATA, 0, 5, b"def"),
        frame(HEADERS, 5, 5, literal([(b"x-sum", b"1")])),
    ]
)


def outcome(cuts: list[int]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """What the backends got, and the client, when the bytes come in these pieces."""
    rig = Rig()
    try:
        visitor = Visitor(rig, hello=False)
        for start, end in pairwise([0, *sorted(cuts), len(STREAM)]):
            visitor.end.send(STREAM[start:end])
        requests = []
        for backend in rig.dialled:
            head, _, body = backend.read().partition(b"\r\n\r\n")
            if b"chunked" in head:
                body = body.replace(b"\r\n", b"").lstrip(b"36")
            requests.append((head.split(b" HTTP")[0], body.replace(b"3", b"")))
            backend.send(OK)
        answer = visitor.end.read()
        return sorted(requests), answer[-200:]
    finally:
        rig.close()


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_of_the_bytes_means_the_same(cuts: list[int]) -> None:
    assert outcome(cuts)[0] == WHOLE[0]
    assert sorted(outcome(cuts)[1].split(b"hello")) == sorted(WHOLE[1].split(b"hello"))


def test_bytes_one_by_one_mean_the_same() -> None:
    assert outcome(list(range(len(STREAM)))) == outcome([])


outcome([])  # from now on its lines are known, and enter the tables of fields
WHOLE = outcome([])


# anything


def frames() -> st.SearchStrategy[bytes]:
    """Frames that make sense, nearly make sense, and make none."""
    ids = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2])
    heads = [
        HEAD,
        literal([(b":method", b"POST"), *BASIC[1:]]),
        literal([(b"x-a", b"b")]),
        literal(BASIC[:2]),
    ]
    heads += [literal([(b":method", b"PUT"), *BASIC[1:], (b"content-length", b"4")])]
    numbers = st.sampled_from([0, 1, 8, 65535, 0x7FFFFFFF]).map(lambda n: n.to_bytes(4, "big"))
    window = st.tuples(st.sampled_from([2, 4, 4, 5]), numbers).map(lambda s: b"\0%c%b" % s)
    return st.one_of(
        st.builds(frame, st.just(HEADERS), st.sampled_from([0, 1, 4, 4, 5, 5]), ids, st.sampled_from(heads)),
        st.builds(frame, st.just(DATA), st.sampled_from([0, 0, 1, 8]), ids, st.binary(max_size=9)),
        st.builds(frame, st.just(DATA), st.sampled_from([0, 1]), ids, st.just(bytes(16384))),
        st.builds(frame, st.just(RST_STREAM), st.just(0), ids, numbers),
        st.builds(frame, st.just(WINDOW_UPDATE), st.just(0), ids, numbers),
        st.builds(frame, st.just(SETTINGS), st.just(0), st.just(0), window),
        st.builds(frame, st.integers(0, 10), st.integers(0, 255), ids, st.binary(max_size=40)),
        st.sampled_from(["answer", "answer in part", "break off", "second"]).map(str.encode),
        st.binary(max_size=30),
    )


@settings(max_examples=100)
@given(st.lists(frames(), max_size=40))
def test_nothing_that_comes_is_a_bug_or_leaves_anything_behind(steps: list[bytes]) -> None:
    rig, errors = Rig(), io.StringIO()
    with contextlib.redirect_stderr(errors):
        visitor = Visitor(rig, hello=False)
        visitor.end.sock.send(PREFACE)
        for step in steps:
            behave(rig, visitor, step)
        visitor.end.read()
        streams = visitor.server.streams
        assert rig.shared.backends["i1"].inflight == sum(s.exchange is not None for s in streams.values())
        visitor.end.sock.close()
        rig.run()
    assert errors.getvalue() == ""
    assert rig.shared.backends["i1"].inflight == 0 and not rig.shared.clients and not streams
    rig.close()


def behave(rig: Rig, visitor: Visitor, step: bytes) -> None:
    """Do one of the things that `frames` thinks of, by the client or by the newest backend."""
    with contextlib.suppress(OSError):
        if step == b"second":
            rig.advance(1)
        elif step not in (b"answer", b"answer in part", b"break off"):
            visitor.end.sock.send(step)
        elif rig.dialled and not rig.backend.closed:
            rig.backend.read()
            if step == b"break off":
                rig.backend.sock.shutdown(socket.SHUT_RDWR)
            else:
                rig.backend.sock.send(
                    OK if step == b"answer" else b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
                )
    rig.run()


def test_an_idle_connection_costs_little_beside_its_tls(rig: Rig) -> None:
    connections = 20
    Visitor(rig)
    tracemalloc.start()
    try:
        fds = [rig._pair()[1] for _ in range(connections)]
        before = tracemalloc.get_traced_memory()[0]
        kept = [Http2Connection(rig.shared, fd, ADDRESS, PORT) for fd in fds]
        for connection in kept:
            connection.data_received(PREFACE)
        assert tracemalloc.get_traced_memory()[0] - before < 8192 * connections
    finally:
        tracemalloc.stop()
