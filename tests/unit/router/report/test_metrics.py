"""What is counted, and the text in which it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.router import Rig
from prometheus_client.parser import text_string_to_metric_families

from router.control import worker_state
from router.report.exposition import merge, render

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Sample name and label values without the worker to value; families must not come twice."""
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    names = []
    for family in text_string_to_metric_families(text):
        names.append(family.name)
        assert family.type in ("counter", "gauge", "histogram", "summary") and family.documentation
        for sample in family.samples:
            labels = tuple(value for name, value in sample.labels.items() if name != "worker")
            assert (sample.name, labels) not in found
            found[sample.name, labels] = sample.value
    assert len(names) == len(set(names))
    return found


def told(rig: Rig) -> dict[tuple[str, tuple[str, ...]], float]:
    rig.shared.access.flush()
    return samples(render(worker_state(rig.shared)))


def exchange(rig: Rig, answer: bytes = OK, request: bytes = GET) -> None:
    client = rig.client()
    client.send(request)
    rig.backend.send(answer)
    client.read()
    client.close()


def test_requests_by_class_with_times_and_bytes(rig: Rig) -> None:
    exchange(rig)
    exchange(rig, request=b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello")
    exchange(
        rig,
        request=b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    exchange(rig, b"HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n")
    exchange(rig, b"garbage\r\n\r\n")
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n")
    got = told(rig)
    assert got["router_requests_total", ("app", "2xx")] == 3
    assert got["router_requests_total", ("app", "4xx")] == 1
    assert got["router_requests_total", ("app", "5xx")] == 1
    assert got["router_requests_total", ("_unknown", "4xx")] == 1
    assert got["router_failed_total", ("app",)] == 1
    assert got["router_received_bytes_total", ("app",)] == 5 + 3
    assert got["router_sent_bytes_total", ("app",)] > 3 * len("ok"), "and the error page"
    assert got["router_service_seconds_bucket", ("app", "+Inf")] == 5
    assert got["router_service_seconds_count", ("app",)] == 5
    assert got["router_clients", ()] == 1


def test_what_it_takes_to_reach_an_instance(rig: Rig) -> None:
    rig.silent.add("i1")
    client = rig.client()
    client.send(GET)
    rig.advance(2)
    rig.silent.clear()
    rig.shared.loop.epoll.modify(next(iter(rig.shared.clients)).exchange.upstream.fd, 5)  # type: ignore[attr-defined]
    rig.run()
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")
    client.send(GET)
    rig.backend.close()  # the second time on the same connection, which ends before the answer
    rig.backend.send(OK)
    assert client.take().endswith(b"ok")
    got = told(rig)
    assert got["router_connect_seconds_sum", ("app",)] == 2
    assert got["router_connect_seconds_count", ("app",)] == 1
    assert got["router_retries_total", ()] == 1


def test_a_status_beyond_the_classes_is_counted_as_5xx(rig: Rig) -> None:
    exchange(rig, b"HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n")
    assert told(rig)["router_requests_total", ("app", "5xx")] == 1


def test_errors_are_counted_for_the_instance_that_made_them(rig: Rig) -> None:
    """During a switch the old and the new web.1 are in the table, and share their name."""
    asked = rig.client()
    asked.send(GET)
    old = rig.backend
    pool = [
        {"id": id, "address": f"192.0.2.{number}", "port": 5000, "dyno": "web.1", "draining": id == "i1"}
        for id, number in (("i1", 9), ("i2", 10))
    ]
    route = {"host": "app.test", "app": "app", "log": "a0", "pool": "p"}
    rig.upstreams.set_table({"generation": 2, "routes": [route], "pools": {"p": pool}})
    exchange(rig, b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
    exchange(rig, b"garbage\r\n\r\n")
    old.send(OK)
    assert asked.take().endswith(b"ok")
    old, new = rig.shared.backends["i1"], rig.shared.backends["i2"]
    rig.shared.access.flush()
    assert (old.errors, new.errors) == (0, 2)


def test_what_is_in_flight_and_what_waits(make_gated: Rig) -> None:
    rig = make_gated
    clients = [rig.client() for _ in range(5)]
    for client in clients:
        client.send(GET)
    got = told(rig)
    assert got["router_inflight", ("app",)] == 2
    assert got["router_queue", ("app",)] == 3
    assert got["router_backend_inflight", ("app", "i1", "web.1")] == 2
    assert got["router_backend_up", ("app", "i1", "web.1")] == 1
    for end in rig.dialled:
        end.send(OK)
    rig.upstreams.eject(rig.shared.backends["i1"])
    got = told(rig)
    assert got["router_backend_up", ("app", "i1", "web.1")] == 0
    assert got["router_ejections_total", ()] == 1


@pytest.fixture
def make_gated() -> Any:
    rig = Rig(("i1",), max_inflight=2)
    yield rig
    rig.close()


def test_names_that_hold_what_the_format_must_escape(rig: Rig) -> None:
    route = rig.shared.table.hosts[b"app.test"]
    route.app = 'a"b\\c\nd'  # type: ignore[union-attr]
    exchange(rig)
    assert told(rig)["router_requests_total", ('a"b\\c\nd', "2xx")] == 1


def test_texts_of_workers_become_one_with_each_family_once(rig: Rig) -> None:
    exchange(rig)
    rig.shared.access.flush()
    one = render(worker_state(rig.shared))
    rig.shared.worker = 1
    other = render(worker_state(rig.shared))
    rig.shared.draining = True
    old = render(worker_state(rig.shared))
    rig.shared.draining = False
    families = list(text_string_to_metric_families(merge([one, other, old, one])))
    assert len({family.name for family in families}) == len(families)
    counts = {
        sample.labels["worker"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "router_requests_total" and sample.labels["class"] == "2xx"
    }
    assert counts == {"0": 1, "1": 1, f"1.{rig.shared.pid}": 1}
    assert merge([one]) == one


def test_the_counters_as_json(rig: Rig) -> None:
    exchange(rig)
    rig.shared.access.flush()
    stats = json.loads(json.dumps(rig.shared.metrics.to_json(rig.shared.backends.values(), rig.now)))
    assert stats["requests"]["app"]["total"] == 1 and sum(stats["requests"]["app"]["buckets"]) == 1
    assert stats["backends"]["i1"]["app"] == "app"


def test_apps_that_are_no_more_are_forgotten(rig: Rig) -> None:
    exchange(rig)
    exchange(rig, request=GET.replace(b"app.test", b"nobody.test"))
    assert {labels[0] for name, labels in told(rig) if name == "router_requests_total"} == {"app", "_unknown"}
    rig.upstreams.set_table({"generation": 9, "routes": [{"host": "app.test", "app": "next"}]})
    assert {labels[0] for name, labels in told(rig) if name == "router_requests_total"} == {"_unknown"}
