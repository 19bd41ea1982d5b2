"""Active health: who is asked, what counts as an answer, and who gets requests meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.router import REFUSED, Rig

from router.report.access import AccessLog

RULE = {"path": "/up?x=1", "interval_s": 5, "timeout_s": 2, "fails": 2}
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def make() -> Iterator[Any]:
    rigs: list[Rig] = []

    def build(*backends: str, **flags: Any) -> Rig:
        rigs.append(Rig(backends, **flags))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()


def answer_probes(rig: Rig, **answers: bytes) -> None:
    """Answer every open probe as its backend does; one that is not named says nothing."""
    for end in rig.probes:
        if end.sock.fileno() >= 0 and end.read() and end.backend in answers:
            end.send(answers[end.backend])
            end.close()


def ready(rig: Rig) -> list[str]:
    return [backend.id for backend in rig.shared.table.pools["p"].ready]


def go(rig: Rig, seconds: int, **answers: bytes) -> None:
    for _ in range(seconds):
        rig.advance(1)
        answer_probes(rig, **answers)


def test_without_the_flag_nobody_is_asked(rig: Rig) -> None:
    go(rig, 20)
    assert rig.probes == []


def test_a_probe_is_a_plain_get_on_a_connection_of_its_own(make: Any) -> None:
    rig = make("i1", health=RULE)
    go(rig, 6)
    assert rig.probes[0].read() == (
        b"GET /up?x=1 HTTP/1.1\r\nHost: app.test\r\nUser-Agent: paas-router-health\r\nAccept: */*\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert rig.dialled == [] and rig.log() == []


def test_each_backend_is_asked_once_an_interval(make: Any) -> None:
    rig = make("i1", "i2", health=RULE)
    go(rig, 50, i1=WELL, i2=WELL)
    counts = [sum(end.backend == id for end in rig.probes) for id in ("i1", "i2")]
    assert all(8 <= count <= 10 for count in counts)
    assert ready(rig) == ["i1", "i2"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Oops\r\n\r\n",
        b"x" * 70000,
        b"",
    ],
)
def test_who_answers_badly_so_often_in_a_row_gets_no_requests_until_it_answers_well(
    make: Any, answer: bytes
) -> None:
    rig = make("i1", "i2", health=RULE)
    go(rig, 5, i1=answer, i2=WELL)
    assert ready(rig) == ["i1", "i2"], "once is not enough"
    go(rig, 6, i1=answer, i2=WELL)
    assert ready(rig) == ["i2"]
    assert not rig.shared.backends["i1"].fit(rig.now)
    go(rig, 12, i1=answer, i2=WELL)
    assert ready(rig) == ["i2"]
    go(rig, 6, i1=b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", i2=WELL)
    assert ready(rig) == ["i1", "i2"]
    assert rig.shared.metrics.health_failures >= 3


def test_the_log_of_the_app_says_whom_requests_avoid(make: Any, tmp_path: Path) -> None:
    rig = make("i1", "i2", health=RULE)
    rig.shared.access = AccessLog(tmp_path, 1, rig.shared.metrics)
    go(rig, 15, i1=b"HTTP/1.1 500 Oops\r\n\r\n", i2=WELL)
    go(rig, 6, i1=WELL, i2=WELL)
    (file,) = (path for path in tmp_path.iterdir() if path.stat().st_size)
    assert [line.partition(" ")[2] for line in file.read_text().splitlines()] == [
        'paas[router]: at=error desc="Health check failed" path="/up?x=1" dyno=web.1',
        'paas[router]: at=info desc="Health check passed" path="/up?x=1" dyno=web.1',
    ]


def test_an_answer_in_pieces_is_one_answer(make: Any) -> None:
    rig = make("i1", health=RULE)
    while not rig.probes:
        rig.advance(1)
    for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n":
        rig.probes[0].send(bytes([byte]))
    rig.probes[0].read()
    assert rig.probes[0].closed and rig.shared.metrics.health_failures == 0


def test_silence_and_refusal_are_failures(make: Any) -> None:
    rig = make("i1", "i2", "i3", health=RULE)
    rig.refusing["i2"] = REFUSED
    go(rig, 20, i3=WELL)
    assert ready(rig) == ["i3"]
    assert rig.shared.metrics.ejections == 0
    del rig.refusing["i2"]
    go(rig, 6, i2=WELL, i3=WELL)
    assert ready(rig) == ["i2", "i3"]


def test_a_failure_between_answers_does_not_count_twice(make: Any) -> None:
    rig = make("i1", "i2", health=RULE)
    for _ in range(4):
        go(rig, 5, i1=b"", i2=WELL)
        go(rig, 5, i1=WELL, i2=WELL)
        assert ready(rig) == ["i1", "i2"]


def test_when_all_fail_all_are_used_but_those_that_refused_sit_out(make: Any) -> None:
    rig = make("i1", "i2", health=RULE)
    go(rig, 15, i1=b"", i2=b"")
    assert ready(rig) == ["i1", "i2"], "better one than none"
    rig.upstreams.eject(rig.shared.backends["i1"])
    assert ready(rig) == ["i2"]


def test_what_is_known_outlives_a_table_and_ends_with_the_flag(make: Any) -> None:
    rig = make("i1", "i2", health=RULE)
    go(rig, 15, i1=b"", i2=WELL)
    rig.set_table(("i1", "i2"), health=RULE)
    assert ready(rig) == ["i2"]
    rig.set_table(("i1", "i2"))
    assert ready(rig) == ["i1", "i2"]
    asked = len(rig.probes)
    go(rig, 15)
    assert len(rig.probes) == asked and not rig.shared.on_tick


def test_a_draining_backend_is_not_asked(make: Any) -> None:
    rig = make("i1", "i2", health=RULE)
    rig.set_table(("i1", "i2"), draining=("i1",), health=RULE)
    go(rig, 15, i2=WELL)
    assert {end.backend for end in rig.probes} == {"i2"}
