"""The limit of requests in flight, its queue and the pause, under load and under change."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from harness.router import REFUSED, End, Rig

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(("i1", "i2"), max_inflight=3, queue=5)
    yield rig
    rig.close()


def waiting_backends(rig: Rig) -> list[End]:
    """Connections on which a request stands unanswered."""
    return [end for end in rig.dialled if end.sock.fileno() >= 0 and end.read() and not end.closed]


def reply(end: End) -> None:
    end.got = b""
    end.send(OK)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_more_are_inside_than_may_be_and_nobody_is_forgotten(rig: Rig, seed: int) -> None:
    """Arrivals, answers, hang-ups, refusals, failing backends, reloads, pauses: in random order."""
    luck = random.Random(seed)
    clients: list[End] = []
    answered = refused = gone = 0
    flags = {"max_inflight": 3, "queue": 5}
    limit = 3
    for _ in range(150):
        match luck.randrange(10):
            case 0 | 1 | 2 | 3:
                client = rig.client()
                client.send(luck.choice((GET, POST)))
                clients.append(client)
            case 4 | 5 | 6:
                for end in waiting_backends(rig)[: luck.randrange(1, 3)]:
                    reply(end)
            case 7:
                if clients:
                    clients.pop(luck.randrange(len(clients))).crash()
                    gone += 1
            case 8:
                for end in waiting_backends(rig)[:1]:
                    end.crash()
            case 9:
                limit = luck.choice((1, 3, 8))
                flags = {"max_inflight": limit, "queue": 5, "pause": luck.random() < 0.3}
                rig.set_table(("i1", "i2"), **flags)
        gate = rig.shared.gates["app"]
        inflight = sum(backend.inflight for backend in rig.shared.backends.values())
        assert gate.inside == inflight
        assert len(gate.waiting) <= 5
    rig.set_table(("i1", "i2"))
    for _ in range(30):
        for end in waiting_backends(rig):
            reply(end)
    for client in clients:
        status = client.read()[9:12]
        assert status in (b"200", b"503"), client.got
        answered += status == b"200"
        refused += status == b"503"
    assert answered + refused == len(clients)
    rig.set_table(("i1", "i2"))
    assert rig.shared.gates == {} and not any(b.inflight for b in rig.shared.backends.values())


def test_they_go_in_the_order_in_which_they_came(rig: Rig) -> None:
    rig.set_table(("i1", "i2"), max_inflight=1, queue=7)
    clients = [rig.client() for _ in range(8)]
    for number, client in enumerate(clients):
        client.send(b"GET /%d HTTP/1.1\r\nHost: app.test\r\n\r\n" % number)
    order = []
    while ends := waiting_backends(rig):
        order.append(ends[0].got.split()[1])
        reply(ends[0])
    assert order == [b"/%d" % number for number in range(8)]
    assert all(client.read().endswith(b"ok") for client in clients)


def test_a_long_queue_in_which_all_fail_at_once_is_no_deep_recursion() -> None:
    rig = Rig(("i1",), max_inflight=1, queue=3000)
    clients = [rig.client() for _ in range(2500)]
    for client in clients:
        client.sock.send(GET)
    rig.run()
    assert len(rig.shared.gates["app"].waiting) == 2499
    rig.refusing["i1"] = REFUSED
    waiting_backends(rig)[0].crash()
    rig.run()
    assert all(client.read().startswith(b"HTTP/1.1 503 ") for client in clients)
    assert rig.shared.gates["app"].inside == 0
    rig.close()


def test_a_websocket_holds_its_place_until_it_is_closed(rig: Rig) -> None:
    upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    clients = [rig.client() for _ in range(3)]
    for client in clients:
        client.send(upgrade)
        rig.backend.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
    late = rig.client()
    late.send(GET)
    dialled = len(rig.dialled)
    assert rig.shared.gates["app"].inside == 3 and late.read() == b""
    clients[0].close()
    assert len(rig.dialled) == dialled + 1
    reply(rig.backend)
    assert late.read().endswith(b"ok")
