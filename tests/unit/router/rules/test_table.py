"""The table: which route a request belongs to, and which documents are tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.control import load_table
from router.rules.pieces import at_once, save
from router.rules.route import Route
from router.rules.table import RouteTable
from router.rules.tablefile import TableError, parse


def document(**changes: Any) -> dict[str, Any]:
    table = {
        "generation": 1,
        "routes": [
            {"host": "a.test", "path": "/", "app": "a", "log": "a1", "pool": "p", "flags": {}},
            {"host": "a.test", "path": "/api", "app": "api", "pool": "q"},
            {"host": "*.wild.test", "app": "wild", "pool": "p"},
            {"host": "none.test", "app": "none", "pool": None, "flags": {"error": "H81"}},
        ],
        "pools": {
            "p": [{"id": "i1", "address": "10.0.0.1", "port": 5000, "dyno": "web.1"}],
            "q": [{"id": "i2", "address": "10.0.0.2", "port": 5000, "draining": True}],
        },
    }
    return table | changes


def found(table: RouteTable, host: bytes, target: bytes = b"/") -> str | None:
    route = table.lookup(host, target)
    return route.app if route is not None else None


def only(table: RouteTable) -> list[Route]:
    """The routes of a table in which each host has one."""
    return [route for route in table.hosts.values() if isinstance(route, Route)]


def test_equal_routes_of_many_hosts_are_one_object_and_others_are_not() -> None:
    """With thousands of hosts, each request would else wait for another part of memory."""
    usual = {"path": "/", "app": "a", "log": "a1", "pool": "p", "flags": {}}
    different: list[dict[str, Any]] = [
        {"path": "/api"},
        {"app": "b"},
        {"log": "b1"},
        {"pool": "q"},
        {"pool": None},
        {"flags": {"error": "H81"}},
        {"flags": {"maintenance": True}},
        {"shares": {"p": 1, "q": 2}},
    ]
    entries = [usual, usual, *(usual | change for change in different)]
    table = parse(document(routes=[{"host": f"{n}.test", **entry} for n, entry in enumerate(entries)]), {})
    routes = [entry if isinstance(entry, Route) else entry[0] for entry in table.hosts.values()]
    assert routes[0] is routes[1]
    assert len({id(route) for route in routes}) == 1 + len(different)


def test_flags_that_many_routes_have_are_read_once_and_not_again_for_the_next_table() -> None:
    """A few apps with long lists could else hold the loop for seconds whenever anybody's table changes."""
    flags = {"allow": [f"10.0.{n}.0/24" for n in range(200)]}
    routes = [{"host": f"{n}.test", "app": "a", "pool": "p", "flags": flags} for n in range(3)]
    text = json.dumps(document(routes=routes))
    first = parse(json.loads(text), {})
    second = parse(json.loads(text), {}, first)
    policies = [route.policy for table in (first, second) for route in only(table)]
    assert policies[0] is not None and len(policies[0].allow) == 200
    assert len(policies) == 6 and all(policy is policies[0] for policy in policies)
    flags["allow"] = flags["allow"][1:]
    third = parse(document(routes=routes), {}, second)
    assert {len(route.policy.allow) for route in only(third) if route.policy} == {199}
    assert len(third.policies) == 1, "what is of no use any more is forgotten"


def test_lookup_by_host_path_and_wildcard() -> None:
    table = parse(document(), {})
    assert found(table, b"a.test", b"/") == "a"
    assert [found(table, b"a.test", path) for path in (b"/api", b"/api/x", b"/api?x", b"/apis", b"/x/api")] == [
        "api", "api", "api", "a", "a",
    ]  # fmt: skip
    assert found(table, b"x.wild.test") == found(table, b"x.y.wild.test") == "wild"
    assert found(table, b"wild.test") is None
    assert found(table, b"evilwild.test") is None
    assert found(table, b"b.test") is None
    assert found(table, b"") is None


@pytest.mark.parametrize(
    "path",
    [
        b"//api", b"/%61pi", b"/api%2fx", b"/x/../api", b"/x/%2e%2E/api/y", b"/./api", b"/api/../x", b"/api;v=1", b"/;/api",
        b"/api#x", b"\\api", b"/x\\..\\api", b"/api%2F..%2Fx", b"/api/..;/x", b"//api?x=/../..",
    ],
)  # fmt: skip
def test_a_path_that_may_be_read_as_one_of_another_route_leads_nowhere(path: bytes) -> None:
    assert found(parse(document(), {}), b"a.test", path) is None


@pytest.mark.parametrize(
    ("path", "app"),
    [
        (b"/x//y", "a"), (b"/%41", "a"), (b"/a/./b", "a"), (b"/.well-known/x", "a"), (b"/apis;x", "a"), (b"/x?/../api", "a"),
        (b"/api//x", "api"), (b"/api/%2e/x;y#z", "api"), (b"/api/x/..", "api"), (b"/api?../x", "api"),
    ],
)  # fmt: skip
def test_an_odd_path_within_one_route_goes_there(path: bytes, app: str) -> None:
    assert found(parse(document(), {}), b"a.test", path) == app


def test_any_host() -> None:
    table = parse(document(routes=[{"host": "*", "app": "any", "pool": "p"}]), {})
    assert found(table, b"whatever") == found(table, b"") == "any"


def test_draining_backends_are_not_ready() -> None:
    table = parse(document(), {})
    assert [b.id for b in table.pools["p"].ready] == ["i1"]
    assert table.pools["q"].ready == []


def test_backends_are_kept_by_id() -> None:
    first = parse(document(), {})
    first.backends["i1"].inflight = 7
    second = parse(document(generation=2), first.backends)
    assert second.backends["i1"] is first.backends["i1"] and second.backends["i1"].inflight == 7


def test_an_id_at_another_address_is_another_backend() -> None:
    first = parse(document(), {})
    pools = {"p": [{"id": "i1", "address": "10.0.0.9", "port": 5000}], "q": []}
    assert parse(document(pools=pools), first.backends).backends["i1"] is not first.backends["i1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": "1"},
        {"generation": None},
        {"routes": {}},
        {"routes": [{}]},
        {"routes": ["x"]},
        {"routes": [{"host": "a", "path": "x"}]},
        {"routes": [{"host": "a", "pool": "nope"}]},
        {"routes": [{"host": "a", "flags": []}]},
        {"routes": [{"host": "a", "log": "../x"}]},
        {"pools": []},
        {"pools": {"p": {}}},
        {"pools": {"p": [{"id": "i1"}]}},
        {"pools": {"p": [{"id": "i1", "address": "localhost", "port": 1}]}},
        {"pools": {"p": [{"id": "i1", "address": "10.0.0.1", "port": 0}]}},
        {"pools": {"p": [{"id": "i1", "address": "10.0.0.1", "port": "80"}]}},
    ],
)
def test_a_document_that_is_no_table_changes_nothing(changes: dict[str, Any]) -> None:
    known = parse(document(), {}).backends
    with pytest.raises(TableError):
        parse(document() | changes, known)
    assert known["i1"].draining is False and known["i1"].dyno == b"web.1"


def test_the_last_good_table_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    assert load_table(path) is None
    at_once(save(path, document()))
    assert load_table(path) == document()
    path.write_text("{")
    assert load_table(path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["table.json"]
