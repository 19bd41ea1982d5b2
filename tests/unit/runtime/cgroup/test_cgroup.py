"""Which cgroup version is in use is read from mountinfo; limits become the kernel's words in the right order."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.cgroup import CgroupError, base, cgroup_mounts, detect
from runtime.cgroup.v1 import V1Group
from runtime.cgroup.v2 import V2
from runtime.spec import MIB, Limits

V1_LINES = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw
50 31 0:36 / /other/pids rw,relatime - cgroup cgroup rw,pids
"""


def test_controllers_mounted_together_share_a_path_and_the_first_mount_counts() -> None:
    mounts = cgroup_mounts(V1_LINES)
    assert mounts["cpu"] == mounts["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert mounts["pids"] == Path("/sys/fs/cgroup/pids")
    assert mounts["unified"] == Path("/sys/fs/cgroup/uni fied")
    assert set(mounts) == {"cpu", "cpuacct", "memory", "pids", "unified"}


def test_nothing_mounted_is_said(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(V1_LINES.splitlines()[0])
    with pytest.raises(CgroupError, match="no cgroup file system"):
        detect("abcdef", tmp_path / "mountinfo")


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    done: list[tuple[str, str]] = []
    monkeypatch.setattr("runtime.cgroup.v1.write", lambda path, value: done.append((path.name, str(value))))
    return done


@pytest.mark.parametrize(
    ("both_now", "first"),
    [(64 * MIB, "memory.memsw.limit_in_bytes"), (512 * MIB, "memory.limit_in_bytes")],
    ids=["raising", "lowering"],
)
def test_v1_never_asks_for_less_memory_and_swap_than_memory(
    tmp_path: Path, writes: list[tuple[str, str]], both_now: int, first: str
) -> None:
    (tmp_path / "memory.memsw.limit_in_bytes").write_text(f"{both_now}\n")
    V1Group("i1", {"memory": tmp_path, "cpu": tmp_path, "pids": tmp_path}).limit(
        Limits(memory_bytes=128 * MIB, swap_bytes=MIB, cpu_millis=250, cpu_weight=50, pids=9)
    )
    assert writes[0][0] == first
    assert dict(writes) == {
        "memory.limit_in_bytes": str(128 * MIB),
        "memory.memsw.limit_in_bytes": str(129 * MIB),
        "memory.kmem.tcp.limit_in_bytes": str(16 * MIB),
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "25000",
        "cpu.shares": "512",
        "pids.max": "9",
    }


def test_v1_without_swap_accounting_limits_memory_alone(
    tmp_path: Path, writes: list[tuple[str, str]]
) -> None:
    V1Group("i1", {"memory": tmp_path, "cpu": tmp_path, "pids": tmp_path}).limit(Limits())
    assert "memory.memsw.limit_in_bytes" not in dict(writes)


def test_v2_without_a_controller_says_which(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu hugetlb\n")
    with pytest.raises(CgroupError, match="memory, pids"):
        V2("abcdef", tmp_path)


def test_figures_of_a_group_that_is_gone_are_zero(tmp_path: Path) -> None:
    assert base.read_flat(tmp_path / "gone") == {}
    assert base.read_pids(tmp_path / "gone") == []
    assert base.read_number(tmp_path / "gone") == 0
