"""What is known of a container survives the disk, and files that an earlier release wrote are understood."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.container import records
from runtime.container.records import Instance
from runtime.kernel.process import Identity
from runtime.protocol import Exit
from runtime.spec import Order

FORMER: dict[str, Any] = {
    "id": "i7", "log": {"app_id": "a1", "source": "app", "dyno": "night-job.2"}, "id_base": 65536,
    "process": {"pid": 5, "start_ticks": 6, "boot_id": "b"}, "shim": {"pid": 7, "start_ticks": 8, "boot_id": "b"},
    "started_at": 1.5, "address": "10.0.0.2", "allow": ["10.0.0.9:53"], "layers": ["sha256:x"], "phase": "running",
}  # fmt: skip
"""A state file of a spawner that knew no Order yet."""


def instance(order: Order) -> Instance:
    shim = Identity(7, 8, "b")
    return Instance(order, 65536, Identity(5, 6, "b"), shim, 1.5, "10.0.0.2", ("10.0.0.9:53",), ("sha256:x",))


def engine(folder: Path) -> Any:
    return SimpleNamespace(run_folder=lambda id: folder / id, boot_id="b")


def test_what_is_remembered_of_an_instance_survives_the_disk() -> None:
    one = instance(Order("i1", "a1", "worker", 3, 12, "app"))
    assert Instance.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_an_instance_that_an_earlier_release_started_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps(FORMER))
    adopted = records.adopt(engine(tmp_path), tmp_path)
    assert adopted == instance(Order("i7", "a1", "night-job", 2))
    assert adopted.order.name == "night-job.2"


@pytest.mark.parametrize(
    "change",
    [{"phase": "creating"}, {"process": {"pid": 5, "start_ticks": 6, "boot_id": "c"}}, {"shim": None}],
)
def test_what_was_never_finished_or_is_of_another_boot_is_not_adopted(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    (tmp_path / "state.json").write_text(json.dumps({**FORMER, **change}))
    assert records.adopt(engine(tmp_path), tmp_path) is None


def test_an_exit_record_is_read_whatever_release_of_the_shim_wrote_it(tmp_path: Path) -> None:
    (tmp_path / "i1").mkdir()
    record = {
        "status": 3,
        "signal": None,
        "oom_kills": 0,
        "peak_memory_bytes": 5,
        "ended_at": 1.0,
        "newer": 1,
    }
    (tmp_path / "i1/exit.json").write_bytes(json.dumps(record).encode() + b"\0" * 100)
    found = records.read_exit(engine(tmp_path), "i1")
    assert found is not None and (found.status, found.peak_memory_bytes, found.wall_exceeded) == (3, 5, None)
    assert records.read_exit(engine(tmp_path), "i2") is None


@pytest.mark.parametrize(
    ("wait_status", "status", "number"),
    [(0, 0, None), (3 << 8, 3, None), (signal.SIGKILL, 137, 9), (143 << 8, 143, 15), (255 << 8, 255, None)],
)
def test_an_end_is_told_as_a_shell_tells_it(wait_status: int, status: int, number: int | None) -> None:
    group: Any = SimpleNamespace(stats=lambda: SimpleNamespace(oom_kills=1, peak_memory_bytes=5))
    ended = records.exit_record(wait_status, group, wall_exceeded=True)
    assert ended == Exit(status, number, 1, 5, ended.ended_at, True)
