from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from harness.inventory import difference, inventory
from harness.platform import STACKS, Platform


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        raise pytest.UsageError("system tests need root: they make namespaces, cgroups and mounts")
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as in a job of a shell's background; git would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stacks() -> str:
    assert (STACKS / "debian-12.json").exists(), f"no stack in {STACKS}: run `make setup`"
    return str(STACKS)


@contextmanager
def leaving_nothing() -> Iterator[Platform]:
    """A platform that is not started yet; at the end it is removed, and the machine is as before."""
    before = inventory()
    running = Platform()
    own = {str(running.folder)}
    try:
        yield running
        own.add(running.id)
    finally:
        running.close()
    assert difference(before, inventory(), own) == {}


@pytest.fixture(scope="module")
def platform(stacks: str) -> Iterator[Platform]:
    """A running platform with one registered key, shared by the tests of a module; leaves nothing behind."""
    with leaving_nothing() as running:
        running.start()
        running.make_key()
        yield running


@pytest.fixture
def lonely(stacks: str) -> Iterator[Platform]:
    """A platform of the test's own, not started yet."""
    with leaving_nothing() as running:
        yield running
