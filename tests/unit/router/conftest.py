from __future__ import annotations

from collections.abc import Iterator

import pytest

from router import core

core.load()  # ROUTER_CORE=pure or compiled says which one is tested

from harness.router import Rig  # noqa: E402


def pytest_report_header() -> str:
    return f"router core: {core.loaded()}"


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A router with one backend behind app.test."""
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture
def pair() -> Iterator[Rig]:
    """A router with two backends behind app.test."""
    rig = Rig(("i1", "i2"))
    yield rig
    rig.close()
