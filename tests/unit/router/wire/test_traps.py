"""Traps that proxies are known to fall into, each with the bytes that go in and those that come out at both ends."""

from __future__ import annotations

import os

import pytest
from harness.router import Rig

from router.io.loop import MAX_BACKLOG, Loop

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n"
UPGRADE = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
VIA = b"Via: 1.1 paas-router\r\n"


# what is pipelined


@pytest.mark.parametrize(
    "rest",
    [
        b"\nGET /2 HTTP/1.1\r\nHost: app.test\r\n\r\n",
        b"\r\n\r\nGET /2 HTTP/1.1\r\nHost: app.test\r\n\r\n",
        b"\0",
        b" ",
    ],
)
def test_what_follows_a_good_request_is_judged_as_strictly(rig: Rig, rest: bytes) -> None:
    client = rig.client()
    client.send(GET + rest)
    rig.backend.take()
    rig.backend.send(OK)
    rig.advance(11)
    got = client.read()
    assert got.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + VIA + b"\r\nokHTTP/1.1 4")
    assert client.closed and rig.backend.take() == b"", "nothing of it went on"


def test_a_body_byte_too_many_begins_the_next_request_and_is_refused(rig: Rig) -> None:
    client = rig.client()
    client.send(
        b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello\0GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
    )
    assert rig.backend.take().endswith(b"\r\n\r\nhello")
    rig.backend.send(OK)
    assert client.read().count(b"HTTP/1.1 ") == 2 and b"HTTP/1.1 400 " in client.got and client.closed


def test_a_head_that_begins_like_the_one_before_is_read_to_its_end(rig: Rig) -> None:
    """Heads that were met are known by their bytes: not by the first of them."""
    client = rig.client()
    longer = GET[:-2] + b"Content-Length: 3\r\n\r\n"
    for request, body in ((GET, b""), (longer, b"GET"), (GET, b""), (longer, b"abc")):
        client.send(request + body)
        arrived = rig.backend.take()
        assert arrived.endswith(b"\r\n\r\n" + body) and (b"Content-Length: 3" in arrived) == bool(body)
        rig.backend.send(OK)
        assert client.take().endswith(b"ok")


def test_answers_that_begin_alike_are_read_to_their_end(rig: Rig) -> None:
    client = rig.client()
    for lines, body in (
        (b"", b"ok"),
        (b"X-A: b\r\n", b"ok"),
        (b"", b"ok"),
        (b"Connection: close\r\n", b"ok"),
        (b"", b"ok"),
    ):
        client.send(GET)
        rig.backend.take()
        rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines + b"\r\n" + body)
        kept = lines.replace(b"Connection: close\r\n", b"")
        assert client.take() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + kept + VIA + b"\r\n" + body
    assert len(rig.dialled) == 2


@pytest.mark.parametrize(
    "target", [b"//admin/x", b"/%61dmin/x", b"/y/../admin/x", b"/admin;/x", b"/admin%2Fx"]
)
def test_what_is_asked_of_a_path_cannot_be_got_round(rig: Rig, target: bytes) -> None:
    """Applications decode and tidy paths; routes compare bytes."""
    pools = {"p": [{"id": "i1", "address": "192.0.2.9", "port": 5000}]}
    routes = [
        {"host": "app.test", "path": path, "app": "app", "pool": "p", "flags": flags}
        for path, flags in (("/", {}), ("/admin", {"allow": ["10.0.0.0/8"]}))
    ]
    rig.upstreams.set_table({"generation": 9, "routes": routes, "pools": pools})
    client = rig.client()
    client.send(GET.replace(b" / ", b" " + target + b" "))
    assert client.take().startswith(b"HTTP/1.1 404 ") and rig.dialled == []
    client.send(GET.replace(b" / ", b" /admin/x "))
    assert client.take().startswith(b"HTTP/1.1 403 ") and rig.dialled == []
    client.send(GET.replace(b" / ", b" //x/%61?/admin "))
    assert rig.backend.take().startswith(b"GET //x/%61?/admin HTTP/1.1\r\n")


@pytest.mark.parametrize("host", [b"[2001:db8::A]", b"[2001:DB8::a]:8080", b"[2001:db8::a]:"])
def test_an_address_of_ipv6_is_a_host(rig: Rig, host: bytes) -> None:
    pools = {"p": [{"id": "i1", "address": "192.0.2.9", "port": 5000}]}
    routes = [{"host": "[2001:db8::a]", "app": "app", "pool": "p"}]
    rig.upstreams.set_table({"generation": 9, "routes": routes, "pools": pools})
    client = rig.client()
    client.send(GET.replace(b"app.test", host))
    assert b"\r\nHost: " + host + b"\r\n" in rig.backend.take()
    rig.backend.send(OK)
    assert client.take().endswith(b"ok") and rig.log()[0].host == b"[2001:db8::a]"


# answers whose body must not be where a careless backend puts it


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ],
)
def test_a_body_where_none_may_be_is_dropped_with_the_connection(
    rig: Rig, request_head: bytes, answer: bytes
) -> None:
    client = rig.client()
    client.send(request_head)
    rig.backend.take()
    rig.backend.send(answer)
    assert client.take().endswith(VIA + b"\r\n")
    assert rig.backend.read() == b"" and rig.backend.closed
    client.send(GET)
    assert len(rig.dialled) == 2
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")


def test_205_is_framed_like_any_other(rig: Rig) -> None:
    client = rig.client()
    for answer in (
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok",
    ):
        client.send(GET)
        rig.backend.take()
        rig.backend.send(answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert client.take() == head + b"\r\n" + VIA + b"\r\n" + body
    assert len(rig.dialled) == 1


# backends that break off


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 502 "),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 503 "),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 2", b"HTTP/1.1 502 "),
    ],
)
@pytest.mark.parametrize("crash", [False, True], ids=["closes", "resets"])
def test_an_answer_that_breaks_off_before_its_final_head(
    pair: Rig, sent: bytes, wanted: bytes, crash: bool
) -> None:
    client = pair.client()
    client.send(GET)
    backend = pair.backend
    if not crash:
        backend.take()
    backend.send(sent)
    backend.crash() if crash else backend.close()
    assert b"HTTP/1.1 200" not in client.read() and wanted in client.got
    assert len(pair.dialled) == 1, "something was answered: it is not asked again"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_a_reset_in_the_body_is_never_a_clean_end(rig: Rig, answer: bytes) -> None:
    for version in (b"1.1", b"1.0"):
        client = rig.client()
        client.send(GET.replace(b"HTTP/1.1", b"HTTP/" + version))
        rig.backend.send(answer)
        assert client.take().endswith(b"hello\r\n") or client.got == b""
        rig.backend.crash()
        assert client.read() == b"" and client.closed
        assert rig.log()[-1].own_answer.code == "H18"


# tunnels


def test_a_draining_worker_lets_tunnels_go_on_for_their_time(rig: Rig) -> None:
    client = rig.client()
    client.send(UPGRADE)
    backend = rig.backend
    backend.take()
    backend.send(SWITCHED)
    client.take()
    rig.upkeep.start_drain()
    for _ in range(29):
        rig.advance(1)
        client.send(b"ping")
        assert backend.take() == b"ping"
        backend.send(b"pong")
        assert client.take() == b"pong"
    assert not rig.shared.loop.stopped
    rig.advance(3)
    assert client.read() == b"" and client.closed and backend.read() == b"" and backend.closed
    assert rig.shared.loop.stopped


def test_an_answer_that_is_no_upgrade_after_bytes_of_the_other_protocol(rig: Rig) -> None:
    """Bytes sent ahead of the 101 are no tunnel's when the backend refuses; they are the next request, and judged."""
    client = rig.client()
    client.send(UPGRADE + b"\x81\x85mask!")
    assert rig.backend.take().endswith(b"\r\n\r\n")
    rig.backend.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
    rig.advance(11)
    assert client.read().startswith(b"HTTP/1.1 426 ") and client.closed
    assert rig.backend.take() == b""


# the loop


def test_a_number_that_is_closed_and_used_again_in_one_batch_gets_no_stale_event() -> None:
    loop = Loop()
    readers: list[Reader] = []
    heard: list[str] = []

    class Reader:
        def __init__(self, fd: int, name: str) -> None:
            self.fd, self.name = fd, name
            loop.add(fd, self)

        def readable(self) -> None:
            heard.append(self.name)
            os.read(self.fd, 10)
            for other in [other for other in readers if other is not self]:
                readers.remove(other)
                loop.close(other.fd)
                fresh = pipes.pop()
                Reader(fresh, "fresh")
                assert fresh != other.fd, "the number is not free before the batch is through"

        def event(self, mask: int) -> None:
            self.readable()

        def abort(self) -> None: ...

    ends = [os.pipe() for _ in range(3)]
    pipes = [ends[2][0]]
    readers += [Reader(ends[0][0], "one"), Reader(ends[1][0], "other")]
    for _, writing in ends[:2]:
        os.write(writing, b"x")
    loop.step(0)
    assert len(heard) == 1 and "fresh" not in heard
    loop.step(0)
    assert len(heard) == 1
    for reading, writing in ends:
        os.close(writing)
        if reading in (ends[2][0], readers[0].fd):
            os.close(reading)
    loop.epoll.close()


def test_a_backlog_is_done_when_nothing_else_is_to_do_and_until_then_the_loop_does_not_sleep() -> None:
    loop = Loop()
    loop.busy = lambda: False
    done: list[int] = []
    loop.backlog = backlog = list(range(MAX_BACKLOG))

    class Reader:
        def readable(self) -> None:
            os.read(reading, 1)

        def event(self, mask: int) -> None: ...

        def abort(self) -> None: ...

    def do_one() -> None:
        done.append(backlog.pop())

    loop.idle_work = do_one
    reading, writing = os.pipe()
    loop.add(reading, Reader())
    os.write(writing, b"x")
    relieved: list[int] = []
    loop.work_after_batch(lambda: bool(relieved.append(1)))
    assert loop.step(-1) == 0.0 and not done and relieved
    assert loop.step(0.0) == -1.0 and done == [MAX_BACKLOG - 1]
    loop.close(reading)
    loop.step(0.0)
    os.close(writing)
    loop.epoll.close()


# memory that an attacker may want to fill


def test_lines_that_differ_without_end_change_no_meaning(rig: Rig) -> None:
    client = rig.client()
    for number in range(3000):
        client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\nX-%d: %d\r\n\r\n" % (number, number))
        assert b"\r\nX-%d: %d\r\n" % (number, number) in rig.backend.take()
        rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-%d: %d\r\n\r\n" % (number, number))
        assert client.take().count(b"\r\nX-") == 1
