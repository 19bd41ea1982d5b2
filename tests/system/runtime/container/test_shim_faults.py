"""A bug in the shim, put there on purpose: the container goes on, and its log says what happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.spawner import SpawnerUnderTest

BROKEN = """
import sys
from runtime.container import pump
from runtime.spawner import server

log = pump.Pump._log

def broken(self, fd, data):
    if b"bug" in data:
        raise ValueError("in the \\x1b[31mlog")
    log(self, fd, data)

pump.Pump._log = broken
sys.exit(server.main())
"""


@pytest.fixture(scope="module")
def spawner() -> Iterator[SpawnerUnderTest]:
    running = SpawnerUnderTest(program=("-c", BROKEN))
    running.start()
    yield running
    running.close()


def test_a_fault_of_the_shim_is_told_in_the_log_and_ends_nothing(spawner: SpawnerUnderTest) -> None:
    script = "echo one; sleep 0.3; echo bug; sleep 0.3; echo two; exit 3"
    ended, lines = spawner.run("/bin/sh", "-c", script)
    assert (ended.status, lines[0], lines[2:]) == (3, "one", ["two"])
    assert lines[1].startswith("the platform's fault, not the app's: ValueError: in the log (")


def test_faults_without_end_end_the_container_and_its_log_says_so(spawner: SpawnerUnderTest) -> None:
    ended, lines = spawner.run("/bin/sh", "-c", "while :; do echo bug; sleep 0.05; done")
    assert (ended.status, ended.signal) == (137, 9)
    assert len(lines) == 11 and lines[-1].endswith("too many of them, this process is ended")


def test_a_fault_in_the_last_output_loses_no_exit_status(spawner: SpawnerUnderTest) -> None:
    ended, lines = spawner.run("/bin/sh", "-c", "echo bug; exit 4")
    assert ended.status == 4 and len(lines) == 1
