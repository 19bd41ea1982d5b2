"""Connections on both sides: reuse, pipelining, early answers, half-closes, back-pressure, who may wait how long."""

from __future__ import annotations

import contextlib

import pytest
from harness.router import End, Rig

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SENT_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 paas-router\r\n\r\nok"
PATIENCE = 3.0


def post(length: int, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n" % length + body


def test_one_backend_connection_serves_many_clients_in_turn(rig: Rig) -> None:
    for _ in range(3):
        client = rig.client()
        client.send(GET)
        rig.backend.take()
        rig.backend.send(OK)
        assert client.take() == SENT_OK
    assert len(rig.dialled) == 1


def test_pipelined_requests_are_answered_in_order_one_at_a_time(rig: Rig) -> None:
    client = rig.client()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: app.test\r\n\r\n" % n for n in range(3)))
    for n in range(3):
        heard = rig.backend.take()
        assert heard.startswith(b"GET /%d " % n) and heard.count(b"HTTP/1.1\r\n") == 1
        rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
        assert client.take().endswith(b"\r\n\r\n%d" % n)
    assert len(rig.dialled) == 1


def test_the_route_of_a_host_is_found_anew_with_each_table_and_for_each_path(rig: Rig) -> None:
    """The connection and the head stay the same; what was found for them before must not."""
    any_path, api = {"host": "app.test", "app": "app"}, {"host": "app.test", "path": "/api", "app": "api"}
    other, wild = {"host": "b.test", "app": "other"}, {"host": "*.test", "app": "wild"}
    client = rig.client()

    def app_of(target: bytes = b"/", line: bytes = b"Host: app.test", times: int = 3) -> set[str | None]:
        rig.log()
        for _ in range(times):
            client.send(b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (target, line))
            if rig.dialled and not client.got and rig.backend.take():
                rig.backend.send(OK)
            assert client.take()
        return {entry.route.app if entry.route else None for entry in rig.log()}

    for routes, apps in (
        ([any_path, other], [{"app"}, {"app"}, {"other"}]),
        ([any_path, api, other], [{"app"}, {"api"}, {"other"}]),
        ([{**any_path, "app": "new"}, {**other, "app": "new"}], [{"new"}, {"new"}, {"new"}]),
        ([wild], [{"wild"}, {"wild"}, {"wild"}]),
        ([], [{None}, {None}, {None}]),
        ([other], [{None}, {None}, {"other"}]),
    ):
        rig.more = {"routes": [{**route, "pool": "p"} for route in routes]}
        rig.set_table(("i1",))
        assert [app_of(), app_of(b"/api"), app_of(line=b"Host: b.test")] == apps
        assert app_of(b"http://b.test/") == apps[2], "an absolute target names the host"


def test_a_thousand_pipelined_requests_for_unknown_hosts(rig: Rig) -> None:
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n" * 1000)
    got = b""
    while data := client.take():
        got += data
        rig.run()
    assert got.count(b"HTTP/1.1 404 Not Found\r\n") == 1000


def test_a_client_that_pipelines_without_reading_is_not_read_on(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    client.sock.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 50_000_000:
            sent += client.sock.send(GET * 1000)
            rig.run()
    assert sent < 5_000_000


@pytest.mark.parametrize("host", [b"app.test", b"nobody.test"])
def test_who_asks_on_without_reading_the_answers_is_not_read(rig: Rig, host: bytes) -> None:
    """Else what waits for it, or what it asks, would grow for as long as it likes."""
    client = rig.client()
    (server,) = rig.shared.clients
    body = b"x" * 60_000
    with contextlib.suppress(BlockingIOError):
        for _ in range(3000):
            client.sock.send(
                (b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host) * (1 if host == b"app.test" else 500)
            )
            rig.run()
            if rig.dialled and rig.backend.take():
                rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert len(server.out) < 200_000  # type: ignore[attr-defined]
    assert len(server.buffer) < 200_000  # type: ignore[attr-defined]
    asked = 0
    while data := client.take():
        asked += data.count(b"HTTP/1.1 ")
        rig.run()
        if rig.dialled and rig.backend.take():
            rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert asked > 10


def test_close_is_kept_to(rig: Rig) -> None:
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n" + GET)
    rig.backend.send(OK)
    answer = client.read()
    assert b"\r\nConnection: close\r\n" in answer and answer.count(b"HTTP/1.1 200") == 1
    assert client.closed


def test_a_client_may_end_its_side_while_it_reads_the_answer(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    client.finish()
    assert rig.shared.loop.epoll.poll(0) == [], "its end is heard of once, not in every turn"
    rig.backend.send(b"k")
    assert client.read().endswith(b"\r\n\r\nok") and client.closed
    assert rig.shared.clients == set()
    assert [entry.status for entry in rig.log()] == [200]


@pytest.mark.parametrize("request_", [GET, GET.replace(b"1.1", b"1.0"), GET + GET, post(2, b"hi"), post(0)])
def test_a_client_that_ends_before_the_answer_begins_has_gone(request_: bytes) -> None:
    """Its end is all that is seen of a client that was stopped: nobody would read the answer."""
    rig = Rig(max_inflight=1)
    client, other = rig.client(), rig.client()
    client.send(request_)
    other.send(GET)
    assert rig.dialled[0].take() and len(rig.dialled) == 1, "the other one waits for its place"
    client.finish()
    assert client.read() == b"" and client.closed
    rig.dialled[0].read()
    assert rig.dialled[0].closed
    assert [(entry.status, entry.own_answer.code) for entry in rig.log()] == [(499, "H27")]
    rig.backend.send(OK)
    assert other.take() == SENT_OK
    rig.close()


def test_a_client_that_ends_in_the_queue_leaves_it() -> None:
    rig = Rig(max_inflight=1)
    clients = [rig.client() for _ in range(3)]
    for client in clients:
        client.send(post(100_000, b"x" * 100_000))
    clients[1].finish()
    rig.advance(PATIENCE)
    assert clients[1].read() == b"" and clients[1].closed
    rig.backend.take()
    rig.backend.send(OK)
    assert clients[0].take() == SENT_OK
    rig.backend.take()
    rig.backend.send(OK)
    assert clients[2].take() == SENT_OK
    assert [entry.status for entry in rig.log()] == [499, 200, 200]
    rig.close()


def test_a_client_that_ends_while_it_is_not_read_has_gone_too(rig: Rig) -> None:
    client = rig.client()
    client.send(post(50_000_000))
    fill(rig, client)
    client.finish()
    assert rig.log() == []
    rig.advance(PATIENCE)
    assert client.read() == b"" and client.closed
    assert [(entry.status, entry.own_answer.code) for entry in rig.log()] == [(499, "H27")]


def test_what_was_pipelined_before_the_end_is_not_begun(rig: Rig) -> None:
    client = rig.client()
    client.send(GET + GET)
    rig.backend.take()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    client.finish()
    rig.backend.send(b"k")
    assert client.read().count(b"HTTP/1.1 200 OK") == 1 and client.closed
    assert rig.backend.take() == b"" and rig.shared.clients == set()


def test_a_half_closed_client_with_half_a_head_is_let_go(rig: Rig) -> None:
    client = rig.client()
    client.send(GET[:20])
    client.finish()
    assert client.read() == b"" and client.closed
    assert rig.shared.clients == set()


def test_a_client_that_goes_away_ends_the_request(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello")
    client.crash()
    rig.backend.read()
    assert rig.backend.closed
    [entry] = rig.log()
    assert (entry.status, entry.own_answer.code) == (499, "H27")


def test_a_client_that_goes_away_during_its_body(rig: Rig) -> None:
    client = rig.client()
    client.send(post(10, b"hello"))
    client.finish()
    assert client.read() == b"" and client.closed
    assert rig.backend.read().endswith(b"hello") and rig.backend.closed
    assert rig.log()[0].own_answer.code == "H27"


# early answers


def test_an_early_answer_is_passed_on_and_nothing_is_used_again(rig: Rig) -> None:
    client = rig.client()
    client.send(post(1_000_000, b"x" * 1000))
    rig.backend.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert client.read().endswith(b"Connection: close\r\n\r\nno")
    rig.backend.read()
    assert rig.backend.closed
    client.send(b"y" * 1000 + GET)
    assert len(rig.dialled) == 1


def test_an_early_answer_can_go_on_while_the_body_comes(rig: Rig) -> None:
    client = rig.client()
    client.send(post(10, b"hello"))
    rig.backend.take()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    assert b"\r\nConnection: close\r\n" in client.take()
    client.send(b"world")
    assert rig.backend.take() == b"world"
    rig.backend.send(b"1\r\nb\r\n0\r\n\r\n")
    assert client.take() == b"1\r\nb\r\n0\r\n\r\n"
    assert client.closed or client.read() == b""


def test_a_backend_that_answers_and_stops_reading_is_heard(rig: Rig) -> None:
    client = rig.client()
    client.send(post(50_000_000, b"x" * 1000))
    rig.backend.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    assert b"413 Too Large" in client.read()


# back-pressure


def test_a_slow_client_stops_the_reading_from_the_backend(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 50_000_000:
            sent += rig.backend.sock.send(b"x" * 65536)
            rig.run()
    assert sent < 3_000_000
    received = len(client.take())
    while received < sent:
        rig.run()
        data = client.take()
        assert data
        received += len(data)
    rig.backend.send(b"y" * 100_000)
    assert client.take().endswith(b"y" * 1000)


def test_a_slow_backend_stops_the_reading_from_the_client(rig: Rig) -> None:
    client = rig.client()
    client.send(post(50_000_000))
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 50_000_000:
            sent += client.sock.send(b"x" * 65536)
            rig.run()
    assert sent < 3_000_000
    received = len(rig.backend.take().rpartition(b"\r\n\r\n")[2])
    while received < sent:
        rig.run()
        data = rig.backend.take()
        assert data
        received += len(data)
    assert received == sent


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000, 5_000_000])
def test_bodies_of_all_sizes_arrive_whole(rig: Rig, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    client = rig.client()
    client.sock.setblocking(False)
    request, answer = post(size) + body, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body
    heard = b""
    while request:
        with contextlib.suppress(BlockingIOError):
            request = request[client.sock.send(request[:200_000]) :]
        rig.run()
        heard += rig.backend.take() if rig.dialled else b""
    assert heard.partition(b"\r\n\r\n")[2] == body
    got = b""
    while answer:
        with contextlib.suppress(BlockingIOError):
            answer = answer[rig.backend.sock.send(answer[:200_000]) :]
        rig.run()
        got += client.take()
    for _ in range(100):
        rig.run()
        got += client.take()
    assert got.partition(b"\r\n\r\n")[2] == body
    client.send(GET)
    assert len(rig.dialled) == 1, "both connections are used again"


# time


def wait(rig: Rig, end: End, seconds: float) -> bytes:
    rig.advance(seconds)
    return end.read()


def test_a_backend_has_30_seconds_for_the_first_byte(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    assert wait(rig, client, 29) == b""
    answer = wait(rig, client, PATIENCE)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n") and b"H12" in answer
    assert rig.log()[0].own_answer.code == "H12"
    rig.backend.read()
    assert rig.backend.closed
    assert not client.closed


def test_after_the_first_byte_each_55_seconds_need_one_more(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(3):
        assert wait(rig, client, 50) and not client.closed
        rig.backend.send(b"x")
    wait(rig, client, 55 + PATIENCE)
    assert client.closed
    [entry] = rig.log()
    assert (entry.status, entry.own_answer.code) == (200, "H15")


def test_a_client_that_never_reads_is_let_go(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.backend.sock.setblocking(False)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    with pytest.raises(BlockingIOError):
        while True:
            rig.backend.sock.send(b"x" * 65536)
            rig.run()
    rig.advance(55 + PATIENCE)
    assert rig.shared.clients == set()
    assert rig.log()[0].own_answer.code == "H27"


def fill(rig: Rig, end: End) -> None:
    """Send until nothing more is taken."""
    with pytest.raises(BlockingIOError):
        while True:
            end.sock.send(b"x" * 65536)
            rig.run()


def test_a_client_that_reads_slowly_but_reads_is_kept(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    fill(rig, rig.backend)
    for _ in range(2):
        rig.advance(40)
        assert client.take()
        rig.run()
    assert rig.log() == []


def test_a_backend_that_does_not_take_the_body_is_h12(rig: Rig) -> None:
    client = rig.client()
    client.send(post(50_000_000))
    fill(rig, client)
    rig.advance(30 + PATIENCE)
    assert b"H12" in client.read()


def test_a_head_must_come_within_10_seconds(rig: Rig) -> None:
    client = rig.client()
    for at in range(9):
        client.send(GET[at : at + 1])
        rig.advance(1)
    assert client.read() == b""
    answer = wait(rig, client, PATIENCE)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and client.closed


def test_a_body_that_stops_coming_is_given_up(rig: Rig) -> None:
    client = rig.client()
    client.send(post(10_000_000, b"x"))
    answer = wait(rig, client, 55 + PATIENCE)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and client.closed
    rig.backend.read()
    assert rig.backend.closed


def test_a_body_that_trickles_is_given_up(rig: Rig) -> None:
    client = rig.client()
    client.send(post(10_000_000))
    for _ in range(60):
        if client.read():
            break
        client.send(b"x")
        rig.advance(1)
    assert client.read().startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_long_upload_at_a_fair_rate_goes_on(rig: Rig) -> None:
    client = rig.client()
    client.send(post(10_000_000))
    for _ in range(120):
        client.send(b"x" * 300)
        rig.backend.take()
        rig.advance(1)
    assert client.read() == b"" and not client.closed


def test_an_idle_client_is_closed_after_a_minute(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.backend.send(OK)
    assert wait(rig, client, 58) == SENT_OK and not client.closed
    wait(rig, client, PATIENCE)
    assert client.closed


def test_a_client_that_never_says_anything_is_closed(rig: Rig) -> None:
    client = rig.client()
    wait(rig, client, 60 + PATIENCE)
    assert client.closed


def test_pooled_connections_end_before_backends_that_wait_5_seconds_do_it(rig: Rig) -> None:
    rig.client().send(GET)
    rig.backend.send(OK)
    rig.advance(3)
    assert rig.backend.read() and not rig.backend.closed
    rig.advance(2)
    rig.backend.read()
    assert rig.backend.closed


def test_an_expectation_that_nobody_answers_is_not_waited_for_for_ever(rig: Rig) -> None:
    client = rig.client()
    client.send(post(2).replace(b"Content", b"Expect: 100-continue\r\nContent"))
    assert b"\r\nExpect: 100-continue\r\n" in rig.backend.take()
    assert wait(rig, client, 29) == b""
    assert wait(rig, client, PATIENCE).startswith(b"HTTP/1.1 408 ") and client.closed
    client.send(b"hi" + GET)
    rig.backend.read()
    assert rig.backend.closed and len(rig.dialled) == 1


def test_lingering_ends(rig: Rig) -> None:
    client = rig.client()
    client.send(b"nonsense\r\n\r\n")
    assert client.read() and client.closed
    assert len(rig.shared.clients) == 1, "the client may still be sending"
    client.send(b"more")
    rig.advance(PATIENCE)
    assert rig.shared.clients == set()


def test_a_request_in_flight_when_draining_begins_is_answered_with_close(rig: Rig) -> None:
    client = rig.client()
    client.send(GET)
    rig.upkeep.start_drain()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert b"\r\nConnection: close\r\n" in client.read() and client.closed
