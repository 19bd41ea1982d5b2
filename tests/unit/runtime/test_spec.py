"""What the spawner accepts as an Order and a Box: every rule, with the sentence that refuses what breaks it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from runtime.spec import MIB, Box, Limits, Mount, Order, Process, SpecError, Terminal, parse, parse_limits

DIGEST = "sha256:" + "a" * 64
BOX: dict[str, Any] = {"layers": [DIGEST], "process": {"args": ["true"]}, "id_base": 1 << 20}


def test_what_is_absent_has_the_defaults_of_the_classes() -> None:
    box = parse(Box, BOX, "box")
    assert box == Box((DIGEST,), Process(("true",)), 1 << 20)
    assert (box.process.cwd, box.hostname, box.network, box.resources) == ("/app", "app", True, Limits())
    assert parse(Order, {"id": "i1", "app": "a1"}, "order") == Order("i1", "a1", "web", 1, None, "app")
    assert box.user == (1 << 20) + 1000


def test_a_whole_box_survives_the_wire() -> None:
    box = Box(
        layers=(DIGEST, "sha256:" + "b" * 64),
        process=Process(("sh", "-c", "x"), {"A": "1"}, "/", 0, 7, Terminal(3, 4), True),
        id_base=1 << 20,
        hostname="h-1",
        mounts=(Mount("volume", "a1/data", "/data"), Mount("host", "/etc/ssl", "/x", read_only=True)),
        network=False,
        allow=("10.0.0.2:5000",),
        resources=Limits(4 * MIB, 1, 10, 1, 4, 64, 0.5),
    )
    assert parse(Box, json.loads(json.dumps(asdict(box))), "box") == box


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown": 1}, "box: 'unknown' is not a known key"),
        ({"layers": []}, "layers: [] is empty or names a layer twice"),
        ({"layers": [DIGEST, DIGEST]}, "is empty or names a layer twice"),
        ({"layers": ["sha256:x"]}, "layer: 'sha256:x' does not match sha256:[0-9a-f]{64}"),
        ({"layers": [DIGEST] * 121}, "is not a list of at most 120"),
        ({"id_base": (1 << 20) + 1}, f"id_base: {(1 << 20) + 1} is not a multiple of 65536"),
        ({"id_base": 0}, "id_base: 0 is not an integer from 65536 to 4294901760"),
        ({"id_base": True}, "id_base: True is not an integer"),
        ({"hostname": "-"}, "hostname: '-' does not match"),
        ({"network": 1}, "network: 1 is not true or false"),
        ({"allow": "x"}, "allow: 'x' is not a list of at most 64"),
        ({"process": None}, "process: None is not an object"),
        ({"process": {}}, "process: 'args' is missing"),
        ({"process": {"args": []}}, "args: 0 words: empty or too long"),
        ({"process": {"args": ["x" * 200_000]}}, "args: 1 words: empty or too long"),
        ({"process": {"args": ["x\0"]}}, "is not text"),
        ({"process": {"args": ["x"], "env": {"1A": ""}}}, "env name: '1A' does not match"),
        ({"process": {"args": ["x"], "env": {"A": 1}}}, "env A: 1 is not text"),
        ({"process": {"args": ["x"], "env": {"A": "x" * (512 * 1024)}}}, "env: 1 variables take more than"),
        ({"process": {"args": ["x"], "cwd": "a"}}, "cwd: 'a' is not an absolute, normal path"),
        ({"process": {"args": ["x"], "cwd": "//a"}}, "is not an absolute, normal path"),
        ({"process": {"args": ["x"], "cwd": "/a/../b"}}, "is not an absolute, normal path"),
        ({"process": {"args": ["x"], "cwd": "/proc/1/cwd"}}, "cwd: '/proc/1/cwd' lies in /proc or /sys"),
        ({"process": {"args": ["x"], "user": 65536}}, "user: 65536 is not an integer from 0 to 65535"),
        ({"process": {"args": ["x"], "terminal": {"rows": 0}}}, "terminal.rows: 0 is not an integer"),
        ({"mounts": [{"type": "bind", "source": "x", "destination": "/x"}]}, "mount.type: 'bind' is not volume"),
        ({"mounts": [{"type": "volume", "source": "../x", "destination": "/x"}]}, "mount.source: '../x' is not a name"),
        ({"mounts": [{"type": "cache", "source": "a//x", "destination": "/x"}]}, "mount.source: 'a//x' is not a name"),
        ({"mounts": [{"type": "host", "source": "etc", "destination": "/x"}]}, "mount.source: 'etc' is not an absolute"),
        ({"mounts": [{"type": "volume", "source": "x", "destination": "/"}]}, "mount.destination: '/' is the root"),
        ({"mounts": [{"type": "volume", "source": "x", "destination": "/sys/fs"}]}, "lies in /proc or /sys"),
        ({"mounts": [{"type": "volume"}]}, "mount: 'destination' is missing"),
        ({"resources": {"pids": 3}}, "limits.pids: 3 is not an integer from 4 to 1000000"),
        ({"resources": {"wall_s": 0}}, "limits.wall_s: 0 is not a positive number of seconds"),
        ({"resources": {"wall_s": True}}, "limits.wall_s: True is not a positive number of seconds"),
    ],
)  # fmt: skip
def test_a_box_that_breaks_a_rule_is_refused_by_field_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(Box, {**BOX, **change}, "box")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "../x"}, "id: '../x' does not match [a-z][a-z0-9-]{0,19}"),
        ({"app": "A"}, "app: 'A' does not match"),
        ({"type": "a\nb"}, "type: 'a\\nb' does not match"),
        ({"number": -1}, "number: -1 is not an integer"),
        ({"release": 0}, "release: 0 is not an integer"),
        ({"log": "app[x]"}, "log: 'app[x]' does not match [a-z]{1,16}"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(Order, {"id": "i1", "app": "a1", **change}, "order")
    assert message in str(refused.value)


@pytest.mark.parametrize("value", [None, [], "x", {"memory_bytes": 1}, {"memory": 1}])
def test_limits_alone_are_checked_alike(value: object) -> None:
    with pytest.raises(SpecError, match=r"^limits"):
        parse_limits(value)


@pytest.mark.parametrize("change", [{"args": ["\ud800"]}, {"env": {"A": "\ud800"}}, {"cwd": "/\ud800"}])
def test_half_a_surrogate_pair_is_no_text(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="is not text"):
        parse(Process, json.loads(json.dumps({"args": ["true"], **change})), "process")


def test_bytes_that_are_no_utf_8_pass() -> None:
    assert parse(Process, {"args": ["\udcff"]}, "process").args == ("\udcff",)
