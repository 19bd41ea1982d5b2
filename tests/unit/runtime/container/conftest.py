from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.engine import engine_home

from runtime.cgroup import Group
from runtime.container.engine import Engine
from runtime.container.processes import STOPPING
from runtime.spec import Limits


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that may bind what lies in `allowed` of the test's folder."""
    with engine_home(tmp_path, allow_bind=(tmp_path / "allowed",)) as made:
        yield made


@pytest.fixture
def group(engine: Engine) -> Iterator[Group]:
    """A container's control group, and this process's own handler for what a shim is told."""
    before = signal.getsignal(STOPPING)
    made = engine.cgroups.create("i1", Limits())
    yield made
    made.remove()
    signal.signal(STOPPING, before)
