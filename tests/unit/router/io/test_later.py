"""Long work in pieces: each in its turn, and nothing of it after it was given up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.router import Rig

from router.io.later import WORK_S


def pieces(rig: Rig, done: list[str], name: str, count: int) -> Iterator[None]:
    """Work of so many pieces, each of which takes a whole turn of the loop."""
    try:
        for number in range(count):
            done.append(f"{name}{number}")
            rig.now += 2 * WORK_S
            yield
    finally:
        done.append(f"{name} over")


def test_one_work_after_the_other_a_piece_in_each_turn(rig: Rig) -> None:
    done: list[str] = []
    rig.shared.later.add(pieces(rig, done, "a", 2))
    rig.shared.later.add(pieces(rig, done, "b", 1))
    rig.shared.loop.step(0)
    assert done == ["a0"]
    for _ in range(4):
        assert rig.shared.loop.after_batch
        rig.shared.loop.step(0)
    assert done == ["a0", "a1", "a over", "b0", "b over"] and not rig.shared.loop.after_batch


def test_work_with_a_bug_does_not_hold_up_what_comes_behind(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Iterator[None]:
        yield
        raise ValueError("no such piece")

    done: list[str] = []
    rig.shared.later.add(broken())
    rig.shared.later.add(pieces(rig, done, "b", 1))
    for _ in range(4):
        rig.shared.loop.step(0)
    assert done == ["b0", "b over"]
    assert "no such piece" in capfd.readouterr().err


def test_given_up_work_is_closed_and_never_goes_on(rig: Rig) -> None:
    done: list[str] = []
    rig.shared.later.add(pieces(rig, done, "a", 5))
    rig.shared.loop.step(0)
    rig.shared.later.give_up()
    for _ in range(3):
        rig.shared.loop.step(0)
    assert done == ["a0", "a over"] and not rig.shared.loop.after_batch
