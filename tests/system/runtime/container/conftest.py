"""One spawner per file for the tests that only start containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.spawner import SpawnerUnderTest


@pytest.fixture(scope="module")
def spawner() -> Iterator[SpawnerUnderTest]:
    running = SpawnerUnderTest()
    running.start()
    yield running
    running.close()
