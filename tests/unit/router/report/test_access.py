"""The lines of the access log, and how they come into its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from harness.router import Logged

from router.report.access import FORMAT_BATCH, AccessLog, format_lines
from router.report.entry import quote
from router.report.metrics import Metrics
from router.rules.own_answers import ANSWERS
from router.rules.route import Backend, Route

UUID = b"6f1ed002-ab55-4985-a140-14ebf0951522"


def entry(**changes: Any) -> Logged:
    route = Route(b"/", "x", "a1", None, ANSWERS["no-web"])
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
    line = line_of(entry(status=503, own_answer=ANSWERS["first-byte"]))
    assert line[32:].startswith(b' paas[router]: at=error code=H12 desc="Request timeout" method=GET ')


def test_nothing_a_client_sends_can_forge_a_field_or_a_line() -> None:
    line = line_of(entry(target=quote(b'/" status=200 \\x\xff'), forwarded=quote(b'1" x="\x80\n')))
    assert line.count(b"\n") == 1 and line.count(b'"') == 4
    assert b'path="/%22 status=200 %5Cx%FF"' in line


def test_lines_are_made_a_few_at_a_time_while_there_is_nothing_else_to_do(tmp_path: Path) -> None:
    metrics = Metrics()
    log = AccessLog(tmp_path, 0, metrics)
    entries = [entry(target=b"/%d" % number) for number in range(150)]
    for turn in range(50):
        log.entries += entries[turn * 3 : turn * 3 + 3]
        while len(log.entries) > FORMAT_BATCH:
            log.format_some()
    assert log.pending
    log.flush()
    assert not log.pending and metrics.apps["x"].classes[2] == 150
    paths = re.findall(r'path="/(\d+)"', (tmp_path / "a1.0.0.log").read_text())
    assert [int(path) for path in paths] == list(range(150))


def test_the_log_of_each_app_is_its_own_and_requests_are_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    log = AccessLog(tmp_path, 3, metrics)
    log.entries += [entry(), entry(status=503, own_answer=ANSWERS["refused"]), entry(status=404, route=None)]
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
