"""The pure parts: line cache, chunk reader, table, choice, error pages, access lines."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.router import Logged
from hypothesis import given
from hypothesis import strategies as st

from router.control import load_table
from router.report.access import A_FEW, AccessLog, Ring, format_lines, quote
from router.report.metrics import Metrics
from router.rules.choice import choose
from router.rules.failures import FAILURES
from router.rules.pages import Pages
from router.rules.pieces import at_once, save
from router.rules.table import Backend, Pool, Route, RouteTable
from router.rules.tablefile import TableError, parse
from router.wire import request, response
from router.wire.heads import MAX_LINE_BYTES, BadHead, HeadMemory, HeadReader, Line

UUID = b"6f1ed002-ab55-4985-a140-14ebf0951522"


def test_lines_that_come_again_are_known_and_the_memory_is_bounded() -> None:
    judged: Counter[bytes] = Counter()

    def judge(line: bytes) -> int:
        judged[line] += 1
        return 0

    reader = HeadReader(judge, len, frozenset([b"host", b"x-rnd"]), capacity=100)
    for number in range(1000):
        reader.read(b"Host: a\r\nX-Rnd: %d" % number)
    assert judged[b"Host: a"] == 1, "what is used stays known"
    assert len(judged) == 1001
    lines = reader._line.__self__  # type: ignore[attr-defined]
    assert len(lines) + len(lines._old) <= 200


def test_as_many_hosts_as_are_expected_are_remembered() -> None:
    judged = 0

    def judge(line: bytes) -> Line:
        nonlocal judged
        judged += 1
        return Line(b"host", line, line, keep=True)

    reader = HeadReader(judge, len, frozenset([b"host"]))
    reader.expect(5000)
    for _ in range(3):
        for number in range(5000):
            reader.read(b"Host: %d.test\r\nAccept: */*" % number)
    assert judged == 5000


def test_plain_lines_are_remembered_without_being_judged_and_bounded_too() -> None:
    def judge(line: bytes) -> int:
        raise AssertionError(line)

    reader = HeadReader(judge, len, frozenset([b"host"]), capacity=100)
    for number in range(1000):
        assert reader.read(b"Accept: a\r\nX-Rnd: %d" % number) == 0
    lines = reader._line.__self__  # type: ignore[attr-defined]
    assert len(lines) + len(lines._old) <= 200
    for line in (
        b"X-Rnd : 1",
        b"X_Rnd: 1",
        b"X-Rnd: \n",
        b"hOST: a",
        b"x-FORWARDED-x: 1",
        b"x" * 600 + b": y",
        b"Accept: " + b"y" * 600,
        b"X-Rnd",
    ):
        with pytest.raises(AssertionError):
            reader.read(line)


def test_what_long_lines_mean_is_not_remembered() -> None:
    reader = request.reader()
    meanings = reader.understand.__self__  # type: ignore[attr-defined]
    for number in range(50):
        reader.read(b"Host: a\r\nX-Forwarded-For: %d%b" % (number, b", 1.1.1.1" * 500))
    assert len(meanings) == 0
    reader.read(b"Host: a")
    assert len(meanings) == 1


def test_long_lines_are_not_remembered() -> None:
    judged: list[bytes] = []
    reader = HeadReader(lambda line: judged.append(line) or 0, len)
    for _ in range(3):
        reader.read(b"X: " + b"a" * 600)
    assert len(judged) == 3


def test_what_lines_mean_does_not_leak_into_other_heads() -> None:
    reader = request.reader()
    first = reader.read(b"Host: a\r\nContent-Length: 5\r\nX-Forwarded-For: 1.1.1.1")
    second = reader.read(b"Host: a")
    assert (first.length, first.forwarded_for) == (5, b"1.1.1.1, ")
    assert (second.length, second.forwarded_for, second.cuts) == (0, b"", ())
    with pytest.raises(BadHead):
        reader.read(b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked")
    assert reader.read(b"Host: a").length == 0


LINES = [
    b"Host: a", b"Accept: x", b"X-Rnd: 1", b"X-Rnd: 2", b"X-Rnd: \x01", b"X_Rnd: 1", b"Content-Length: 5", b"Content-Length: 6",
    b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: x-rnd", b"X-Forwarded-For: 1.1.1.1", b"X-Rnd", b"",
]  # fmt: skip


def outcome(read: Callable[[], request.RequestMeaning]) -> object:
    try:
        meaning = read()
    except BadHead as error:
        return str(error), error.status
    return {name: getattr(meaning, name) for name in dir(meaning) if not name.startswith("_")}


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=6), max_size=8))
def test_the_heads_before_change_nothing_in_what_a_head_means(heads: list[list[bytes]]) -> None:
    memory = HeadMemory(request.reader())
    for lines in heads:
        block = b"".join(line + b"\r\n" for line in lines)
        data = b"GET / HTTP/1.1\r\n" + block + b"\r\nHost: a\r\n"
        fresh = request.reader()
        alone = outcome(lambda fresh=fresh, lines=lines: fresh.understand(fresh.special(lines)))
        assert outcome(lambda data=data, block=block: memory.read(data, 16, 16 + len(block))) == alone


def test_heads_that_differ_in_one_value_are_not_taken_apart() -> None:
    apart: list[object] = []
    reader = HeadReader(request.judge, lambda lines: "meaning", frozenset([b"host"]))
    understand, reader.understand = reader.understand, lambda lines: apart.append(lines) or understand(lines)
    memory = HeadMemory(reader)

    def read(block: bytes) -> str:
        block = b"A: a\r\n%b\r\nC: c\r\n" % block
        return memory.read(b"GET / HTTP/1.1\r\n" + block + b"\r\n", 16, 16 + len(block))

    for number in range(9):
        assert read(b"B: %d" % number) == "meaning"
    assert len(apart) == 2
    for number, line in enumerate((b"B: 1\r\nD: 1", b"B: %b" % (b"1" * 600), b"B: 1\r\nB: 1", b"b: 1")):
        read(line)
        assert len(apart) == 3 + number, line
    for line in (b"b: \x01", b"b: 1\n"):
        with pytest.raises(BadHead):
            read(line)


def test_a_status_line_is_no_longer_than_a_header_line() -> None:
    """They are remembered."""
    line = b"HTTP/1.1 200 " + b"x" * (MAX_LINE_BYTES - 13)
    assert response.parse_status_line(line).code == 200
    with pytest.raises(BadHead):
        response.parse_status_line(line + b"x")


def test_a_status_line_without_a_reason() -> None:
    assert response.parse_status_line(b"HTTP/1.1 200").code == 200
    assert response.parse_status_line(b"HTTP/1.1 200 ").code == 200


# the table


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


def test_flags_that_many_routes_have_are_read_once_and_not_again_for_the_next_table() -> None:
    """A few apps with long lists could else hold the loop for seconds whenever anybody's table changes."""
    flags = {"allow": [f"10.0.{n}.0/24" for n in range(200)]}
    routes = [{"host": f"{n}.test", "app": "a", "pool": "p", "flags": flags} for n in range(3)]
    text = json.dumps(document(routes=routes))
    first = parse(json.loads(text), {})
    second = parse(json.loads(text), {}, first)
    policies = [route.policy for table in (first, second) for route in table.routes()]
    assert policies[0] is not None and len(policies[0].allow) == 200
    assert len(policies) == 6 and all(policy is policies[0] for policy in policies)
    flags["allow"] = flags["allow"][1:]
    third = parse(document(routes=routes), {}, second)
    assert {len(route.policy.allow) for route in third.routes() if route.policy} == {199}
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


# choice


def backends(*inflight: int) -> list[Backend]:
    made = [Backend(f"i{n}", "10.0.0.1", 1) for n in range(len(inflight))]
    for backend, count in zip(made, inflight, strict=True):
        backend.inflight = count
    return made


def test_the_less_busy_of_two_wins() -> None:
    one, other = backends(3, 2)
    pair = Pool("p", [one, other])
    assert {choose(pair) for _ in range(50)} == {other}
    other.inflight = 9
    assert {choose(pair) for _ in range(50)} == {one}


def test_the_busiest_of_many_is_never_chosen_and_all_others_are() -> None:
    many = Pool("p", backends(1, 1, 1, 9))
    assert {b.id for b in (choose(many) for _ in range(300)) if b} == {"i0", "i1", "i2"}
    crowd = Pool("p", backends(*[1] * 11, 9))
    assert {b.id for b in (choose(crowd) for _ in range(2000)) if b} == {f"i{n}" for n in range(11)}


def test_weight_makes_a_backend_carry_more() -> None:
    light, heavy = backends(1, 2)
    heavy.weight = 4
    assert choose(Pool("p", [light, heavy])) is heavy


def test_tried_backends_are_left_out() -> None:
    one, other = backends(0, 5)
    pair = Pool("p", [one, other])
    assert choose(pair, (one,)) is other
    assert choose(pair, (one, other)) is None
    assert choose(Pool("p", [])) is None


# pages and the log


def test_pages_say_what_and_carry_the_id() -> None:
    pages = Pages()
    for failure in FAILURES.values():
        answer, size = pages.answer(failure, UUID, close=True, head_only=False)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % failure.status)
        assert b"X-Request-Id: " + UUID in head and b"Connection: close" in head
        assert b"Content-Length: %d\r\n" % len(body) in head and size == len(body)
        assert failure.code.encode() in body and failure.text.encode() in body
    assert pages.answer(FAILURES["refused"], b"", close=False, head_only=True)[0].endswith(b"\r\n\r\n")


def test_pages_from_another_template(tmp_path: Path) -> None:
    (tmp_path / "error.html").write_text("$status|$code|$title|$text")
    answer, _ = Pages(tmp_path).answer(FAILURES["first-byte"], b"", close=False, head_only=False)
    assert answer.endswith(b"503|H12|Service Unavailable|The application took too long to answer.")


def entry(**changes: Any) -> Logged:
    route = Route(b"x.example.com", b"/", "x", "a1", None, FAILURES["no-web"])
    backend = Backend("i1", "10.0.0.1", 5000)
    backend.dyno = b"web.1"
    made = Logged(
        1785880395.123456, b"GET", b"/a?b=1", b"x.example.com", UUID, b"1.2.3.4", backend, 0.001, 0.014, 200, 255, None, route, b"http"
    )  # fmt: skip
    return made._replace(**changes)


def line_of(entry: Logged) -> bytes:
    logs: dict[str, list[bytes]] = {}
    format_lines([entry], logs)
    return b"".join(logs["a1"])


def test_the_access_line_is_the_field_s() -> None:
    assert line_of(entry()) == (
        b'2026-08-04T21:53:15.123456+00:00 paas[router]: at=info method=GET path="/a?b=1" host=x.example.com '
        b'request_id=6f1ed002-ab55-4985-a140-14ebf0951522 fwd="1.2.3.4" dyno=web.1 connect=1ms service=14ms status=200 '
        b"bytes=255 protocol=http\n"
    )


def test_the_access_line_of_a_failure_names_its_code() -> None:
    line = line_of(entry(status=503, failure=FAILURES["first-byte"]))
    assert line[32:].startswith(b' paas[router]: at=error code=H12 desc="Request timeout" method=GET ')


def test_nothing_a_client_sends_can_forge_a_field_or_a_line() -> None:
    line = line_of(entry(target=quote(b'/" status=200 \\x\xff'), forwarded=quote(b'1" x="\x80\n')))
    assert line.count(b"\n") == 1 and line.count(b'"') == 4
    assert b'path="/%22 status=200 %5Cx%FF"' in line


def test_logs_are_a_ring_of_two_files(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "a1.0", 1000)
    for number in range(100):
        ring.write(b"%099d\n" % number)
    ring.close()
    texts = sorted((tmp_path / f"a1.0.{n}.log").read_bytes() for n in (0, 1))
    assert all(len(text) <= 1000 for text in texts)
    numbers = [int(line) for text in texts for line in text.split()]
    assert numbers == list(range(100 - len(numbers), 100)) and len(numbers) >= 10
    again = Ring(tmp_path / "a1.0", 1000)
    again.write(b"new\n")
    again.close()
    assert any(
        path.read_bytes().endswith(b"%099d\nnew\n" % 99) or path.read_bytes() == b"new\n"
        for path in tmp_path.iterdir()
    )


def deleted_files(folder: Path) -> list[int]:
    """Bytes of the files that were in this folder and are still open."""
    fds = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    names = [(fd, os.readlink(fd)) for fd in fds if fd.exists() or fd.is_symlink()]
    return [
        fd.stat().st_size
        for fd, name in names
        if name.startswith(f"{folder}/") and name.endswith(" (deleted)")
    ]


def test_a_full_file_is_freed_piece_by_piece(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "a1.0", 1 << 20)
    for _ in range(33):
        ring.write(bytes(1 << 16))
    kept = deleted_files(tmp_path)
    while deleted_files(tmp_path):
        ring.write(b"x")
        kept += deleted_files(tmp_path)
    ring.close()
    assert kept == [3 << 18, 2 << 18, 1 << 18]
    assert sorted(path.stat().st_size for path in tmp_path.iterdir()) == [(1 << 16) + 3, 1 << 20]


def test_lines_are_made_a_few_at_a_time_while_there_is_nothing_else_to_do(tmp_path: Path) -> None:
    metrics = Metrics()
    log = AccessLog(tmp_path, 0, metrics)
    entries = [entry(target=b"/%d" % number) for number in range(150)]
    for turn in range(50):
        log.entries += entries[turn * 3 : turn * 3 + 3]
        while len(log.entries) > A_FEW:
            log.do_some()
    assert log.pending
    log.flush()
    assert not log.pending and metrics.apps["x"].classes[2] == 150
    paths = re.findall(r'path="/(\d+)"', (tmp_path / "a1.0.0.log").read_text())
    assert [int(path) for path in paths] == list(range(150))


def test_the_log_of_each_app_is_its_own_and_requests_are_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    log = AccessLog(tmp_path, 3, metrics)
    log.entries += [entry(), entry(status=503, failure=FAILURES["refused"]), entry(status=404, route=None)]
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_unknown.3.0.log", "a1.3.0.log"]
    assert len((tmp_path / "a1.3.0.log").read_text().splitlines()) == 2
    counts = metrics.to_json([], 0.0)["requests"]
    assert (counts["x"]["total"], counts["x"]["2xx"], counts["x"]["5xx"], counts["x"]["failed"]) == (
        2,
        1,
        1,
        1,
    )
    assert counts["_unknown"]["4xx"] == 1


def test_a_log_that_cannot_be_written_costs_no_descriptor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = AccessLog(Path("/dev/full/nowhere"), 0, Metrics())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        log.entries.append(entry())
        log.flush()
    (tmp_path / "a1.0.0.log").symlink_to("/dev/full")
    other = AccessLog(tmp_path, 0, Metrics())
    for _ in range(10):
        other.entries.append(entry())
        other.flush()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert capfd.readouterr().err.count("event=log-lost") == 2
