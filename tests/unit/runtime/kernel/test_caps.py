"""A child gives up its capabilities, and the kernel says what is left of them."""

from __future__ import annotations

import os
from pathlib import Path

from harness.engine import ended, forked

from runtime.kernel import caps

NONE = "0" * 16


def status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_last_capability_is_the_kernels() -> None:
    assert int(Path("/proc/sys/kernel/cap_last_cap").read_text()) == caps.LAST == caps.last_capability()


def test_an_empty_bounding_set_leaves_the_capabilities_that_the_process_has() -> None:
    before = status()

    def child() -> None:
        caps.drop_bounding()
        after = status()
        assert after["CapBnd"] == NONE and after["CapEff"] == before["CapEff"] != NONE

    assert ended(forked(child)) == 0


def test_what_is_kept_is_kept_by_root_and_lost_with_its_id() -> None:
    kept = f"{caps.ROOT_BUILD:016x}"

    def child() -> None:
        caps.drop_bounding(caps.ROOT_BUILD)
        caps.drop(caps.ROOT_BUILD)
        after = status()
        assert [after[name] for name in ("CapEff", "CapPrm", "CapBnd")] == [kept] * 3
        assert (after["CapInh"], after["CapAmb"], after["NoNewPrivs"]) == (NONE, NONE, "1")
        os.setresuid(65534, 65534, 65534)
        assert status()["CapPrm"] == NONE

    assert ended(forked(child)) == 0


def test_after_giving_all_up_there_is_none_and_no_program_brings_one_back() -> None:
    def child() -> None:
        caps.drop()
        after = status()
        assert [after[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [NONE] * 4
        assert after["NoNewPrivs"] == "1"
        try:
            caps.drop_bounding()
        except PermissionError:
            return
        raise AssertionError("CAP_SETPCAP is still there")

    assert ended(forked(child)) == 0
