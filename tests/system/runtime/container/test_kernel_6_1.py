"""Whole containers on the oldest supported kernel, 6.1, with cgroup v2, in a virtual machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.machine import Machine

DATA = Path(__file__).parents[3] / "data"
CHECKS = {
    "starts", "limits_memory", "limits_processes", "stops", "shows_its_group", "terminal", "survives_the_spawner",
    "refuses_a_hostile_image", "mounts_a_volume", "escapes_nowhere", "leaves_nothing",
}  # fmt: skip
REFUSALS = {
    "EPERM",
    "EACCES",
    "ENOSYS",
    "EROFS",
    "ENOENT",
    "ENXIO",
    "ESRCH",
    "EAFNOSUPPORT",
    "ETXTBSY",
    "KILLED 31",
}
# An id without a mapping in the namespace is an invalid one: user_namespaces(7).
UNMAPPED = {"E20 outside": {"EINVAL"}}
NO_ATTEMPTS = {"E6 masked", "E17 wanted", "E19", "E20 su", "E22", "E25"}


@pytest.mark.long
def test_containers_start_stop_and_stay_shut_on_linux_6_1_with_cgroup_v2(tmp_path: Path) -> None:
    probe = (DATA / "container_probe.py").read_text()
    escape = (DATA / "probe.py").read_text()
    script = f"open('/escape.py', 'w').write({escape!r})\n{probe}"
    told = {item["check"]: item for item in Machine(tmp_path).run(script, timeout_s=600)}
    failed = {name: item["detail"] for name, item in told.items() if not item["ok"]}
    assert not failed, "\n".join(failed.values())
    assert set(told) == CHECKS
    answers = told["escapes_nowhere"]["detail"]
    open_doors = {
        f"{group} {attempt}": answer
        for group, attempts in answers.items()
        if group not in NO_ATTEMPTS
        for attempt, answer in attempts.items()
        if answer not in REFUSALS | UNMAPPED.get(group, set())
    }
    assert open_doors == {}
    assert set(answers["E17 wanted"].values()) == {"OK"}
