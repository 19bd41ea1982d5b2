"""Tables on their way into force: understood whole or not at all, and in pieces between which the router serves."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.router import Rig
from hypothesis import given
from hypothesis import strategies as st

from router.back.upstreams import StaleTable
from router.control import ControlServer, MessageDecoder, encode_message, worker_state
from router.report.exposition import render
from router.rules.pieces import at_once, load, release, save
from router.rules.tablefile import TableError

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
DOCUMENT: dict[str, Any] = {
    "generation": 7,
    "routes": [
        {
            "host": "app.test", "path": "/", "app": "app", "log": "a0", "pool": "p", "shares": {"p": 90, "q": 10},
            "flags": {
                "error": "H10", "body_limit_bytes": 10, "first_byte_s": 1.5, "max_inflight": 3, "sticky": "secret",
                "allow": ["192.0.2.0/24"], "pages": {"503": "a.html"}, "health": {"path": "/up", "fails": 2},
            },
        },
        {"host": "*.test", "pool": None},
    ],
    "pools": {
        "p": [{"id": "i1", "address": "192.0.2.9", "port": 5000, "weight": 1, "draining": False, "dyno": "web.1"}],
        "q": [{"id": "i2", "address": "192.0.2.9", "port": 5000, "draining": True}],
    },
    "certificates": [{"names": ["app.test"], "file": "a1.pem"}],
    "challenges": {"app.test": {"token": "text"}},
    "https_port": 8443,
}  # fmt: skip
ODD: list[Any] = [
    None, True, -1, 1.5, float("nan"), 10**30, "x", "", "ü" * 70, "\ud800", "\0", "a\nb", "../x", [], [None], [[]], {}, {"x": None},
]  # fmt: skip


class Peer:
    """Somebody at the control socket."""

    def __init__(self, rig: Rig, path: Path) -> None:
        self.rig = rig
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.sock.setblocking(False)
        self.decoder = MessageDecoder()
        rig.run()

    def say(self, *messages: Any) -> None:
        view = memoryview(b"".join(encode_message(message) for message in messages))
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                self.rig.shared.loop.step(0)

    def heard(self) -> list[Any]:
        """What has been answered since the last call."""
        try:
            return [json.loads(message) for message in self.decoder.feed(self.sock.recv(1 << 20))]
        except BlockingIOError:
            return []

    def ask(self, *messages: Any) -> list[Any]:
        self.say(*messages)
        self.rig.run()
        return self.heard()


@pytest.fixture
def control(rig: Rig, tmp_path: Path) -> Iterator[Path]:
    """The path of a control socket; tables are kept beside it."""
    server = ControlServer(rig.shared, rig.upstreams, tmp_path, tmp_path / "table.json", lambda: None)
    yield tmp_path / f"worker-{os.getpid()}.sock"
    server.close()
    server._socket.close()


def places(value: Any) -> Iterator[list[Any]]:
    """The path to everything in a document."""
    entries: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, entry in entries:
        yield [key]
        yield from ([key, *rest] for rest in places(entry))


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


def in_force(rig: Rig) -> Any:
    """Everything that tables decide about."""
    shared = rig.shared
    backends = [
        (id, b, b.address, b.port, b.weight, b.draining, b.dyno, b.app) for id, b in shared.backends.items()
    ]
    pools = [(pool, list(pool.ready)) for pool in shared.table.pools.values()]
    return (
        shared.table,
        backends,
        pools,
        list(shared.gates),
        list(rig.upstreams.health.checks),
        list(rig.events),
    )


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=".".join(map(str, path))) for path in places(DOCUMENT)]
)
def test_a_table_is_put_in_force_or_refused_whatever_is_in_it(
    rig: Rig, path: list[Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A value of any kind at any place: no other exception, and nothing changed by a table that is refused."""
    rig.upstreams.set_table(DOCUMENT)
    rig.shared.access._folder = tmp_path
    for value in ODD:
        document = changed(path, value)
        before = in_force(rig)
        try:
            rig.upstreams.set_table(document)
        except (TableError, StaleTable):
            assert in_force(rig) == before, value
            continue
        rig.client().send(GET)
        rig.advance(2)
        rig.shared.access.flush()
        assert render(worker_state(rig.shared)) and "event=bug" not in capfd.readouterr().err, value
        rig.shared.table.generation = 0
        rig.upstreams.set_table(DOCUMENT)
    rig.shared.access.close()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["pools", "q", 0, "weight"], "x"),
        (["routes", 1, "host"], "ü" * 70),
        (["routes", 0, "pool"], []),
        (["https_port"], "x"),
    ],
)
def test_a_bad_table_is_answered_as_one(rig: Rig, control: Path, path: list[Any], value: Any) -> None:
    peer = Peer(rig, control)
    (answer,) = peer.ask({"op": "table", "table": DOCUMENT})
    assert answer["ok"] and json.loads(control.with_name("table.json").read_text()) == DOCUMENT
    before = in_force(rig)
    document = changed(path, value) | {"generation": 8}
    document["pools"]["p"][0] |= {"weight": 5, "draining": True, "dyno": "web.9"}
    (answer,) = peer.ask({"op": "table", "table": document})
    assert answer["error"]["code"] == "bad-table" and answer["generation"] == 7
    assert in_force(rig) == before
    assert json.loads(control.with_name("table.json").read_text()) == DOCUMENT
    (answer,) = peer.ask({"op": "table", "table": DOCUMENT | {"generation": 6}})
    assert answer["error"]["code"] == "stale"


def large(generation: int, hosts: int = 300) -> dict[str, Any]:
    more = [{"host": f"{n}.test", "app": "app", "log": "a0", "pool": "p", "flags": {}} for n in range(hosts)]
    return copy.deepcopy(DOCUMENT) | {
        "generation": generation,
        "routes": [{"host": "app.test", "app": "app", "log": "a0", "pool": "p"}, *more],
    }


def test_while_a_large_table_is_read_requests_and_other_peers_are_answered(rig: Rig, control: Path) -> None:
    """The clock says that each look at it takes a millisecond, so that a turn is over after a few steps."""

    def clock() -> float:
        rig.now += 0.001
        return rig.now

    rig.upstreams.set_table(large(1, 1))
    sender, other = Peer(rig, control), Peer(rig, control)
    rig.shared.loop.clock = clock
    sender.say({"op": "table", "table": large(2)}, {"op": "table", "table": large(3)}, {"op": "stats"})
    turns: list[int] = []
    heard: list[Any] = []
    while len(heard) < 3:
        if len(turns) == 50:
            other.say({"op": "stats"})
            rig.client().sock.send(GET)
        if len(turns) == 60:
            assert not heard and [answer["generation"] for answer in other.heard()] == [1]
            assert rig.backend.take().startswith(b"GET / HTTP/1.1\r\n")
        wait = rig.shared.loop.step(0)
        heard += sender.heard()
        turns.append(rig.shared.table.generation)
        assert wait == 0 or len(heard) == 3, "the loop does not sleep over its work"
    assert [answer.get("generation") for answer in heard] == [2, 3, 3] and heard[2]["ok"]
    assert min(turns.count(1), turns.count(2)) > 300, "each turn does little"
    assert json.loads(control.with_name("table.json").read_text())["generation"] == 3
    assert rig.shared.table.lookup(b"299.test", b"/") is not None


def test_a_peer_that_is_gone_or_a_worker_that_ends_leaves_nothing_behind(rig: Rig, control: Path) -> None:
    seconds = iter(range(10**9))
    rig.shared.loop.clock = lambda: float(next(seconds))
    peer = Peer(rig, control)
    peer.say({"op": "table", "table": large(2)})
    for _ in range(100):
        rig.shared.loop.step(0)
    peer.sock.close()
    while not list(control.parent.glob("table.json*")):
        rig.shared.loop.step(0)
    rig.shared.later.give_up()
    assert list(control.parent.glob("table.json*")) == []
    assert rig.shared.table.generation < 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(JSON, st.sampled_from([None, 1]))
def test_json_in_pieces_is_the_same_json(value: Any, indent: int | None) -> None:
    assert at_once(load(json.dumps(value, indent=indent))) == value


@given(JSON, st.integers(0, 60), st.text('{}[],:"x1 ', max_size=2))
def test_what_is_no_json_is_none_in_pieces(value: Any, at: int, noise: str) -> None:
    text = json.dumps(value)
    text = text[:at] + noise + text[at + 1 :]
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            at_once(load(text))
    else:
        assert at_once(load(text)) == expected


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_what_is_saved_in_pieces_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "saved.json"
    at_once(save(path, document))
    assert json.loads(path.read_text("utf-8")) == document
    at_once(release(document))
    assert document == {}
