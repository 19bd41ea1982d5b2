"""What the flags of a route make of its requests."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from harness.router import Rig

from router.rules.policy import hash_password, parse

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def make() -> Iterator[Any]:
    rigs: list[Rig] = []

    def build(**flags: Any) -> Rig:
        rigs.append(Rig(("i1",), **flags))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()


def answer(rig: Rig, request: bytes = GET) -> bytes:
    """What the client gets when the backend, if it is asked, says ok."""
    client = rig.client()
    client.send(request)
    for end in rig.dialled:
        if end.sock.fileno() >= 0 and end.take() and not end.closed:
            end.send(OK)
    return client.read()


def test_maintenance(make: Any) -> None:
    rig = make(maintenance=True)
    got = answer(rig)
    assert got.startswith(b"HTTP/1.1 503 ") and b"H80" in got and b"\r\nRetry-After: 60\r\n" in got
    assert rig.dialled == []
    rig.set_table(("i1",))
    assert answer(rig).endswith(b"ok")


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"301"), (b"HEAD", b"301"), (b"DELETE", b"308")])
def test_canonical_host(make: Any, method: bytes, status: bytes) -> None:
    rig = make(canonical_host="www.app.test")
    got = answer(rig, method + b" //x/?a=b&c HTTP/1.1\r\nHost: app.test\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nLocation: http://www.app.test:8080//x/?a=b&c\r\n" in got
    assert rig.log()[0].own_answer.code == ""
    rig.set_table(("i1",), canonical_host="app.test")
    assert answer(rig).endswith(b"ok")


def test_body_limit_by_length(make: Any) -> None:
    rig = make(body_limit_bytes=5)
    assert answer(rig, b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 6\r\n\r\nhello!").startswith(
        b"HTTP/1.1 413 "
    )
    assert rig.dialled == []
    assert answer(rig, b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello").endswith(b"ok")


def test_body_limit_of_chunks(make: Any) -> None:
    rig = make(body_limit_bytes=5)
    head = b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert answer(rig, head + b"5\r\nhello\r\n0\r\n\r\n").endswith(b"ok")
    client = rig.client()
    client.send(head + b"5\r\nhello\r\n")
    client.send(b"1\r\n!\r\n")
    assert client.read().startswith(b"HTTP/1.1 413 ") and client.closed
    rig.backend.read()
    assert rig.backend.closed


def test_timeouts_of_the_app(make: Any) -> None:
    rig = make(first_byte_s=5, rolling_s=7.5)
    client = rig.client()
    client.send(GET)
    rig.advance(4)
    assert client.read() == b""
    rig.advance(3)
    assert b"H12" in client.take()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    rig.advance(6)
    assert not client.closed
    rig.advance(4)
    client.read()
    assert client.closed


def test_only_some_networks(make: Any) -> None:
    assert answer(make(allow=["10.0.0.0/8", "192.0.2.7"])).endswith(b"ok")
    assert answer(make(allow=["10.0.0.0/8", "2001:db8::/32"])).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        (b"Basic " + base64.b64encode(b"ann:se:cret"), True),
        (b"basic  " + base64.b64encode(b"ann:se:cret"), True),
        (b"Basic " + base64.b64encode(b"ann:wrong"), False),
        (b"Basic " + base64.b64encode(b"bob:se:cret"), False),
        (b"Basic " + base64.b64encode(b"ann"), False),
        (b"Basic !!!!", False),
        (b"Basic YW5u=", False),
        (b"Bearer x", False),
        (b"", False),
    ],
)
def test_basic_auth(make: Any, given: bytes, passes: bool) -> None:
    rig = make(basic_auth={"ann": hash_password("se:cret", "saltsalt")})
    got = answer(rig, b"GET / HTTP/1.1\r\nHost: app.test\r\nAuthorization: " + given + b"\r\n\r\n")
    if passes:
        assert got.endswith(b"ok")
    else:
        assert got.startswith(b"HTTP/1.1 401 ") and b"\r\nWWW-Authenticate: Basic " in got
        assert rig.dialled == []


def test_more_than_the_limit_wait_and_too_many_are_turned_away(make: Any) -> None:
    rig = make(max_inflight=2, queue=1, queue_s=5)
    clients = [rig.client() for _ in range(4)]
    for client in clients:
        client.send(GET)
    assert len(rig.dialled) == 2
    assert b"H11" in clients[3].read()
    rig.dialled[0].send(OK)
    assert clients[0].read().endswith(b"ok")
    assert len(rig.dialled) == 2 and rig.dialled[0].take().count(b"GET / ") == 2, "the waiting one follows"
    rig.dialled[0].send(OK)
    assert clients[2].read().endswith(b"ok")
    rig.dialled[1].send(OK)
    assert clients[1].read().endswith(b"ok")
    assert rig.shared.gates["app"].inside == 0


def test_waiting_ends(make: Any) -> None:
    rig = make(max_inflight=1, queue_s=5)
    first, second, third = (rig.client() for _ in range(3))
    for client in (first, second, third):
        client.send(GET)
    third.close()
    rig.advance(8)
    assert b"H11" in second.read()
    rig.backend.send(OK)
    assert first.read().endswith(b"ok")
    gate = rig.shared.gates["app"]
    assert (gate.inside, len(gate.waiting)) == (0, 0)


def test_a_paused_app_holds_requests_and_their_bodies_until_it_goes_on(make: Any) -> None:
    rig = make(pause=True)
    reader, writer = rig.client(), rig.client()
    reader.send(GET)
    writer.send(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nhello")
    writer.send(b"world")
    rig.advance(3)
    assert rig.dialled == [] and reader.read() == writer.read() == b""
    rig.set_table(("i2",))
    assert [end.backend for end in rig.dialled] == ["i2", "i2"]
    heard = [end.read() for end in rig.dialled]
    assert heard[0].startswith(b"GET / ") and heard[1].endswith(b"\r\n\r\nhelloworld")
    for end in rig.dialled:
        end.send(OK)
    assert reader.read().endswith(b"ok") and writer.read().endswith(b"ok")
    rig.set_table(("i2",))
    assert rig.shared.gates == {}, "what is not used is forgotten"


def test_failures_give_their_place_back(make: Any) -> None:
    rig = make(max_inflight=1)
    for _ in range(3):
        client = rig.client()
        client.send(GET)
        rig.backend.crash()
        assert b"H13" in client.read()
        gone = rig.client()
        gone.send(GET)
        gone.crash()
    assert answer(rig).endswith(b"ok")
    assert rig.shared.gates["app"].inside == 0


def test_a_tunnel_keeps_its_place(make: Any) -> None:
    rig = make(max_inflight=1)
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    rig.backend.send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert rig.shared.gates["app"].inside == 1
    client.crash()
    assert rig.shared.gates["app"].inside == 0


@pytest.mark.parametrize(
    "flags",
    [
        {"maintenance": 1},
        {"pause": "yes"},
        {"body_limit_bytes": -1},
        {"body_limit_bytes": True},
        {"body_limit_bytes": 1.5},
        {"first_byte_s": "30"},
        {"allow": "10.0.0.0/8"},
        {"allow": ["10.0.0.0/40"]},
        {"canonical_host": "a b"},
        {"canonical_host": "a\r\nX: y"},
        {"basic_auth": {"ann": "secret"}},
        {"basic_auth": {"ann": 5}},
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        parse(flags)


def test_unknown_and_empty_flags_ask_nothing() -> None:
    assert parse({"error": "H14", "something_new": [1]}) is None
    assert parse({"maintenance": False, "allow": []}) is None


def shared(rig: Rig, shares: dict[str, int], **flags: Any) -> None:
    rig.generation += 1
    pools = {name: [{"id": f"i-{name}", "address": "192.0.2.9", "port": 5000}] for name in ("old", "new")}
    route = {"host": "app.test", "app": "app", "pool": "old", "shares": shares, "flags": flags}
    rig.upstreams.set_table({"generation": rig.generation, "routes": [route], "pools": pools})
    rig.run()


def test_pools_get_their_shares(make: Any) -> None:
    rig = make()
    shared(rig, {"old": 90, "new": 10})
    for _ in range(400):
        assert answer(rig).endswith(b"ok")
    counts = {backend.id: backend.requests for backend in rig.shared.backends.values()}
    assert sum(counts.values()) == 400 and 10 <= counts["i-new"] <= 90
    shared(rig, {"old": 0, "new": 1})
    for _ in range(20):
        answer(rig)
    assert rig.shared.backends["i-new"].requests == counts["i-new"] + 20


def test_a_share_that_refuses_leaves_the_request_to_the_other(make: Any) -> None:
    rig = make()
    shared(rig, {"old": 0, "new": 1})
    rig.refusing["i-new"] = 111
    assert answer(rig).endswith(b"ok")
    assert [end.backend for end in rig.dialled] == ["i-old"]


def test_a_share_whose_backends_sit_out_goes_to_the_other(make: Any) -> None:
    rig = make()
    shared(rig, {"old": 0, "new": 1})
    rig.refusing["i-new"] = 111
    answer(rig)
    del rig.refusing["i-new"]
    for _ in range(5):
        assert answer(rig).endswith(b"ok")
    backends = rig.shared.backends
    assert (backends["i-new"].requests, backends["i-old"].requests) == (1, 6)
    rig.advance(6)
    answer(rig)
    assert (backends["i-new"].requests, backends["i-old"].requests) == (2, 6)
    backends["i-new"].sick = True
    rig.upstreams.refresh(backends["i-new"])
    answer(rig)
    assert backends["i-old"].requests == 7


def test_a_client_stays_on_its_side_while_shares_change(make: Any) -> None:
    rig = make(sticky="s3cret")
    shared(rig, {"old": 0, "new": 100}, sticky="s3cret")
    cookie = cookie_of(answer(rig))
    shared(rig, {"old": 100, "new": 0}, sticky="s3cret")
    for _ in range(5):
        answer(rig, b"GET / HTTP/1.1\r\nHost: app.test\r\nCookie: " + cookie + b"\r\n\r\n")
    assert rig.shared.backends["i-new"].requests == 6
    answer(rig)
    assert rig.shared.backends["i-old"].requests == 1


def cookie_of(got: bytes) -> bytes:
    return got.partition(b"\r\nSet-Cookie: ")[2].partition(b";")[0]


def test_a_client_stays_at_its_backend(make: Any) -> None:
    rig = make(sticky="s3cret")
    rig.set_table(("i1", "i2", "i3"), sticky="s3cret")
    cookie = cookie_of(answer(rig))
    assert cookie.startswith(b"paas_affinity=i")
    home = rig.backend.backend
    for _ in range(10):
        got = answer(rig, b"GET / HTTP/1.1\r\nHost: app.test\r\nCookie: a=b; " + cookie + b"; c=d\r\n\r\n")
        assert got.endswith(b"ok") and b"Set-Cookie" not in got
        assert rig.log()[-1].dyno == b"web." + home[-1:].encode()
        rig.advance(6)
    rig.set_table(tuple({"i1", "i2", "i3"} - {home}), sticky="s3cret")
    got = answer(rig, b"GET / HTTP/1.1\r\nHost: app.test\r\nCookie: " + cookie + b"\r\n\r\n")
    assert got.endswith(b"ok") and cookie_of(got) not in (b"", cookie), "its backend is gone: another one"


@pytest.mark.parametrize("scheme", [b"http", b"https"])
def test_the_cookie_of_a_secure_site_is_not_sent_over_plain_connections(make: Any, scheme: bytes) -> None:
    rig = make(sticky="s3cret")
    rig.shared.trusted = (ip_network("192.0.2.0/24"),)
    got = answer(rig, b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-Proto: " + scheme + b"\r\n\r\n")
    line = got.partition(b"\r\nSet-Cookie: ")[2].partition(b"\r\n")[0]
    assert line.endswith(b"; SameSite=Lax; Secure") is (scheme == b"https") and b"; HttpOnly" in line


def test_a_forged_cookie_is_nothing(make: Any) -> None:
    rig = make(sticky="s3cret")
    forged = b"paas_affinity=i1." + b"0" * 32
    got = answer(rig, b"GET / HTTP/1.1\r\nHost: app.test\r\nCookie: " + forged + b"\r\n\r\n")
    assert cookie_of(got) not in (b"", forged)
