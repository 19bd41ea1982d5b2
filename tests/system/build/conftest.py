from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.builder import BuildPlatform, build_platform


@pytest.fixture(scope="package")
def platform(stacks: str) -> Iterator[BuildPlatform]:
    """A spawner and a store for the tests of builds: no api, no git, no router."""
    with build_platform() as platform:
        yield platform
