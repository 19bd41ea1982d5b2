"""The order in which apps are put on a newer stack."""

from __future__ import annotations

from typing import Any, cast

from harness.nouns import make_app

from paas.release.rebase import Standing, in_turn


def standing(name: str, owner: int | None) -> Standing:
    nothing = cast(Any, None)
    return Standing(make_app(name=name, owner_id=owner), nothing, nothing, False)


def test_owners_take_turns_and_each_ones_apps_go_by_name() -> None:
    found = [standing("a", 1), standing("b", 1), standing("c", 1), standing("d", 2), standing("e", None)]
    assert [each.app.name for each in in_turn(found)] == ["a", "d", "e", "b", "c"]
