from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.container.mounts import Bind, Device, Filesystem, Mask, ReadOnly, ReadOnlyMount
from runtime.container.rootfs import CgroupView, Plan, plan
from runtime.kernel import syscalls as sc
from runtime.spec import MIB

BASE = 65536 * 9


def operations(**fields: object) -> list[object]:
    return list(plan(Plan(**{"id_base": BASE, "memory_bytes": 512 * MIB, **fields})))  # type: ignore[arg-type]


def test_every_new_file_system_is_closed_to_setuid_and_all_but_dev_to_devices() -> None:
    made = [item for item in operations() if isinstance(item, Filesystem)]
    assert all(item.flags & sc.MS_NOSUID for item in made)
    assert {item.target for item in made if not item.flags & sc.MS_NODEV} == {"dev", "dev/pts"}


def test_files_of_the_kernel_are_masked_or_read_only_after_everything_else() -> None:
    items = operations(binds=(Bind(3, "data", 0),))
    masks = {item.target for item in items if isinstance(item, Mask)}
    assert {"proc/kcore", "proc/keys", "proc/timer_list", "sys/firmware", "sys/kernel/vmcoreinfo"} <= masks
    activity = {"proc/stat", "proc/interrupts", "proc/softirqs", "proc/diskstats", "proc/vmstat"}
    assert not masks & activity, "what one of them hides, the others show"
    locked = {item.target for item in items if isinstance(item, ReadOnly)}
    assert {"proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus", "proc/fs"} <= locked
    last_bind = max(n for n, item in enumerate(items) if isinstance(item, Bind))
    assert all(n > last_bind for n, item in enumerate(items) if isinstance(item, Mask | ReadOnly))


def test_dev_is_locked_once_it_is_complete() -> None:
    items = operations()
    lock = next(n for n, item in enumerate(items) if isinstance(item, ReadOnlyMount) and item.target == "dev")
    assert all(n < lock for n, item in enumerate(items) if isinstance(item, Device))


@given(st.lists(st.sampled_from(["a", "a/b", "a/b/c", "ab", "a-b", "b"]), unique=True))
def test_outer_mounts_come_before_inner_ones(targets: list[str]) -> None:
    binds = [Bind(number, target, 0) for number, target in enumerate(targets)]
    order = [item.target for item in operations(binds=binds) if isinstance(item, Bind)]
    for place, target in enumerate(order):
        assert not any(target.startswith(later + "/") for later in order[place + 1 :])


@pytest.mark.parametrize("memory", [64 * MIB, 2048 * MIB])
def test_temporary_space_follows_the_memory_limit(memory: int) -> None:
    sizes = {
        item.target: int(item.data.split("size=")[1].split(",")[0])
        for item in operations(memory_bytes=memory)
        if isinstance(item, Filesystem) and item.target in ("tmp", "dev/shm") and item.data
    }
    assert sizes == {"tmp": memory // 2, "dev/shm": memory // 2}


@pytest.mark.parametrize(
    ("views", "targets"),
    [
        ((), []),
        ((CgroupView(3, ""),), ["sys/fs/cgroup"]),
        ((CgroupView(3, "memory"), CgroupView(4, "cpu")), ["sys/fs/cgroup/memory", "sys/fs/cgroup/cpu"]),
    ],
)
def test_control_groups_are_shown_read_only(views: tuple[CgroupView, ...], targets: list[str]) -> None:
    binds = [item for item in operations(cgroups=views) if isinstance(item, Bind)]
    assert [item.target for item in binds] == targets
    assert all(item.attributes & sc.MOUNT_ATTR_RDONLY for item in binds)
