"""Quotas on cgroup v2 and the network's rules on the oldest kernel that is supported, in a virtual machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.machine import Machine

PROBE = Path(__file__).parents[3] / "data/kernel_probe.py"
CHECKS = {
    "version", "memory", "cpu", "pids", "kill_and_freeze", "lent_group", "shim_is_charged", "limits_change", "network", "nothing_left",
}  # fmt: skip


@pytest.mark.long
def test_quotas_and_rules_hold_on_linux_6_1_with_cgroup_v2(tmp_path: Path) -> None:
    told = {item["check"]: item for item in Machine(tmp_path).run(PROBE.read_text())}
    assert {name: item["detail"] for name, item in told.items() if not item["ok"]} == {}
    assert set(told) == CHECKS
    assert str(told["version"]["detail"]).startswith("6.1.")
