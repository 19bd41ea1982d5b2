"""Which backend gets a request, what is tried again, what draining means."""

from __future__ import annotations

import errno
import time

import pytest
from harness.router import REFUSED, End, Rig

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serve(rig: Rig, request: bytes = GET) -> End:
    """One request, answered: leaves a pooled connection."""
    client = rig.client()
    client.send(request)
    rig.backend.take()
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")
    return client


def codes(rig: Rig) -> list[str]:
    return [entry.own_answer.code if entry.own_answer else "" for entry in rig.log()]


def test_the_one_with_fewer_requests_in_flight_gets_the_next(pair: Rig) -> None:
    for _ in range(10):
        pair.client().send(GET)
    assert sorted(end.backend for end in pair.dialled) == ["i1"] * 5 + ["i2"] * 5


def test_a_refused_connection_is_tried_elsewhere_and_the_refuser_sits_out(pair: Rig) -> None:
    pair.refusing["i1"] = REFUSED
    for _ in range(20):
        serve(pair)
    assert {end.backend for end in pair.dialled} == {"i2"}
    assert codes(pair) == [""] * 20
    assert pair.events.count({"event": "refused", "id": "i1"}) == 1
    del pair.refusing["i1"]
    pair.advance(7)
    for _ in range(20):
        pair.client().send(GET)
    assert {end.backend for end in pair.dialled} == {"i1", "i2"}


def test_a_post_is_tried_elsewhere_when_it_was_refused(pair: Rig) -> None:
    pair.refusing["i1"] = REFUSED
    for _ in range(10):
        client = pair.client()
        client.send(POST)
        assert pair.backend.take().endswith(b"\r\n\r\nhi")
        pair.backend.send(OK)
        assert client.read().endswith(b"ok")


def test_all_refuse(pair: Rig) -> None:
    pair.refusing |= {"i1": REFUSED, "i2": REFUSED}
    client = pair.client()
    client.send(GET)
    answer = client.read()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"H21" in answer
    assert codes(pair) == ["H21"]
    assert not client.closed


def test_the_only_one_is_asked_even_when_it_sits_out(rig: Rig) -> None:
    rig.refusing["i1"] = REFUSED
    client = rig.client()
    client.send(GET)
    assert b"H21" in client.take()
    del rig.refusing["i1"]
    client.send(GET)
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")


def test_one_that_refuses_on_and_on_costs_no_more_among_many_apps() -> None:
    def cost(apps: int) -> float:
        rig = Rig()
        more = [{"host": f"{n}.test", "app": f"a{n}", "pool": f"p{n}"} for n in range(apps)]
        pools = {
            f"p{n}": [{"id": f"b{n}", "address": "192.0.2.9", "port": 5000, "dyno": "web.1"}]
            for n in range(apps)
        }
        rig.upstreams.set_table({"generation": 9, "routes": more, "pools": pools})
        rig.refusing["b0"] = REFUSED
        client = rig.client()
        times = []
        for _ in range(30):
            began = time.perf_counter()
            client.send(GET.replace(b"app.test", b"0.test"))
            times.append(time.perf_counter() - began)
            assert b"H21" in client.take()
        rig.close()
        return min(times)

    assert cost(10_000) < 4 * cost(10)


def test_a_lack_of_descriptors_is_not_the_fault_of_the_backend(rig: Rig) -> None:
    rig.refusing["i1"] = errno.EMFILE
    client = rig.client()
    client.send(GET)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 500 ") and b"H99" in answer
    assert rig.events == []


def test_a_pooled_connection_that_closes_is_never_used(rig: Rig) -> None:
    client = serve(rig)
    rig.backend.close()
    client.send(POST)
    assert len(rig.dialled) == 2
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize("crash", [False, True], ids=["closes", "resets"])
def test_a_pooled_connection_that_dies_at_the_moment_of_reuse_is_replaced(rig: Rig, crash: bool) -> None:
    client = serve(rig)
    first = rig.backend
    client.send(GET)
    first.crash() if crash else first.close()
    assert len(rig.dialled) == 2
    assert rig.backend.take().startswith(b"GET / HTTP/1.1\r\n")
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")
    assert codes(rig) == ["", ""]


def test_a_pooled_connection_that_cannot_be_written_to_is_replaced_whatever_the_method(rig: Rig) -> None:
    """Its end is there, but the client's request is heard of first: nothing was sent."""
    client = serve(rig)
    (server,) = rig.shared.clients
    client.sock.send(POST)
    rig.backend.sock.close()
    server.readable()  # EPIPE
    rig.run()
    assert len(rig.dialled) == 2 and rig.backend.take().endswith(b"\r\n\r\nhi")
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")
    assert codes(rig) == ["", ""] and rig.shared.metrics.retries == 1


def test_only_once_is_it_replaced(rig: Rig) -> None:
    client = serve(rig)
    client.send(GET)
    rig.backend.close()
    rig.backend.close()
    assert b"H13" in client.take()
    assert len(rig.dialled) == 2


def test_a_post_that_was_sent_is_not_sent_again(pair: Rig) -> None:
    client = serve(pair)
    first = pair.backend
    pair.set_table((first.backend,))
    client.send(POST)
    assert first.take().endswith(b"hi")
    first.close()
    assert b"H13" in client.take()
    assert len(pair.dialled) == 1
    assert codes(pair) == ["", "H13"]


def test_a_post_gets_no_connection_that_has_idled_long(rig: Rig) -> None:
    client = serve(rig)
    rig.advance(2)
    client.send(POST)
    assert len(rig.dialled) == 2


def test_an_instance_that_dies_before_a_byte_gives_an_idempotent_request_to_another(pair: Rig) -> None:
    client = pair.client()
    client.send(GET)
    first = pair.backend
    first.crash()
    assert len(pair.dialled) == 2 and pair.backend.backend != first.backend
    pair.backend.send(OK)
    assert client.take().endswith(b"ok")


def test_an_instance_that_dies_with_a_post_is_h13(pair: Rig) -> None:
    client = pair.client()
    client.send(POST)
    pair.backend.crash()
    assert b"H13" in client.take()
    assert len(pair.dialled) == 1
    assert pair.log()[-1].dyno


def test_a_large_body_is_not_kept_to_be_sent_again(rig: Rig) -> None:
    client = serve(rig)
    put = b"PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\n"
    client.send(put + b"x" * 190_000)
    rig.backend.take()
    client.send(b"x" * 10_000)
    rig.backend.close()
    assert b"H13" in client.read()
    assert len(rig.dialled) == 1


def test_a_small_body_is_sent_again_whole(rig: Rig) -> None:
    client = serve(rig)
    client.send(b"PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nhello")
    client.send(b"wo")
    rig.backend.close()
    assert rig.backend.take().endswith(b"\r\n\r\nhellowo")
    client.send(b"rld")
    assert rig.backend.take() == b"rld"
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")


def test_connecting_takes_at_most_5_seconds(pair: Rig) -> None:
    pair.silent |= {"i1", "i2"}
    client = pair.client()
    client.send(GET)
    pair.advance(4)
    assert client.read() == b"" and len(pair.dialled) == 1
    pair.advance(3)
    assert len(pair.dialled) == 2 and pair.dialled[0].backend != pair.dialled[1].backend
    pair.advance(7)
    answer = client.read()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"H19" in answer


# draining


def test_draining_with_nothing_in_flight_is_told_at_once(rig: Rig) -> None:
    serve(rig)
    rig.set_table(("i1",), draining=("i1",))
    assert rig.events == [{"event": "drained", "id": "i1"}]
    rig.backend.read()
    assert rig.backend.closed, "its pooled connections are closed"


@pytest.mark.parametrize("gone", [False, True], ids=["marked", "absent"])
def test_draining_finishes_what_is_in_flight_and_takes_nothing_new(pair: Rig, gone: bool) -> None:
    client = pair.client()
    client.send(GET)
    old = pair.backend
    new = "i2" if old.backend == "i1" else "i1"
    pair.set_table((new,)) if gone else pair.set_table((old.backend, new), draining=(old.backend,))
    assert pair.events == []
    for _ in range(5):
        serve(pair)
    assert {end.backend for end in pair.dialled[1:]} == {new}
    old.send(OK)
    assert client.take().endswith(b"ok")
    assert pair.events == [{"event": "drained", "id": old.backend}]
    old.read()
    assert old.closed
    client.send(GET)
    assert pair.backend.backend == new
    assert (old.backend in pair.shared.backends) is not gone


def test_a_stale_connection_of_a_draining_backend_is_replaced_by_another_backend(pair: Rig) -> None:
    client = serve(pair)
    old = pair.backend
    new = "i2" if old.backend == "i1" else "i1"
    pair.set_table((old.backend,))
    client.send(GET)
    pair.set_table((old.backend, new), draining=(old.backend,))
    old.close()
    assert pair.backend.backend == new
    pair.backend.send(OK)
    assert client.take().endswith(b"ok")
    assert pair.events[-1] == {"event": "drained", "id": old.backend}


def test_requests_in_flight_stay_counted_across_tables(rig: Rig) -> None:
    rig.client().send(GET)
    rig.set_table(("i1", "i2"))
    rig.client().send(GET)
    assert [end.backend for end in rig.dialled] == ["i1", "i2"]


def test_an_upgrade_counts_as_in_flight_until_the_tunnel_closes(rig: Rig) -> None:
    client = rig.client()
    client.send(b"GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    rig.backend.send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    rig.set_table(("i1",), draining=("i1",))
    assert rig.events == []
    client.send(b"still here")
    assert rig.backend.take().endswith(b"still here")
    client.close()
    rig.backend.close()
    assert rig.events == [{"event": "drained", "id": "i1"}]


@pytest.mark.parametrize(
    ("code", "status"), [("H10", 503), ("H14", 503), ("H80", 503), ("H81", 503), ("", 503)]
)
def test_a_route_without_a_pool_says_why(code: str, status: int) -> None:
    rig = Rig((), error=code) if code else Rig(())
    client = rig.client()
    client.send(GET)
    answer = client.read()
    rig.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status) and (code or "H14").encode() in answer
    assert not client.closed


def test_an_unknown_host_gets_no_app(rig: Rig) -> None:
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
    assert client.read().startswith(b"HTTP/1.1 404 ")
    assert rig.dialled == []
