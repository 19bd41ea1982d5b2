"""One server for a home: the lock says who holds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paas.host.claim import _lock
from paas.nouns.errors import Conflict, NotFound


def test_a_lock_names_its_holder_to_the_next_who_wants_it(tmp_path: Path) -> None:
    held = _lock(tmp_path / "lock", tmp_path)
    with pytest.raises(Conflict) as caught:
        _lock(tmp_path / "lock", tmp_path / "elsewhere")
    assert caught.value.message == f"A server (pid {os.getpid()}) already runs on {tmp_path}."
    os.close(held)
    os.close(_lock(tmp_path / "lock", tmp_path))


def test_there_is_no_lock_without_a_home(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no platform in"):
        _lock(tmp_path / "none" / "lock", tmp_path / "none")
