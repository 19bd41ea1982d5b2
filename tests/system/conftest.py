from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from harness.inventory import difference, inventory
from harness.platform import STACKS, Platform


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        raise pytest.UsageError("system tests need root: they make namespaces, cgroups and mounts")


@pytest.fixture(scope="session")
def stacks() -> str:
    assert (STACKS / "debian-12.json").exists(), f"no stack in {STACKS}: run `make setup`"
    return str(STACKS)


@pytest.fixture(scope="module")
def platform(stacks: str) -> Iterator[Platform]:
    """A running platform with one registered key, shared by the tests of a module; leaves nothing behind."""
    before = inventory()
    running = Platform()
    try:
        running.start()
        running.make_key()
        yield running
    finally:
        running.close()
    assert difference(before, inventory()) == {}
