"""The order in which apps are put on a newer stack."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from harness.nouns import make_app
from harness.platform import wait_for

from paas.nouns.errors import BadInput
from paas.release import rebase
from paas.release.rebase import Rebase, Standing, by_owner
from runtime.stack.build import Stack

STACK = cast(Stack, type("Stack", (), {"name": "debian-12"}))


def standing(name: str, owner: int | None) -> Standing:
    image = cast(Any, type("Image", (), {"stack": "debian-12"}))
    return Standing(make_app(name=name, owner_id=owner), cast(Any, None), image, False)


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> list[Standing]:
    found: list[Standing] = []
    monkeypatch.setattr(rebase, "standings", lambda platform: found)
    return found


class Deploys(Rebase):
    """Rebases that do what `act` does, and make release 7."""

    act: Callable[[str], None]

    def _deployed(self, one: Standing, line: Callable[[str], None]) -> Any:
        self.act(one.app.name)
        return type("Release", (), {"number": 7})


def deploys(act: Callable[[str], None], lines: list[str], patience_s: float = 60.0) -> Rebase:
    made = Deploys(cast(Any, None), STACK, "root", lines.append, lambda: False, patience_s)
    object.__setattr__(made, "act", act)
    return made


def test_the_apps_of_an_owner_go_in_their_order() -> None:
    found = [standing("a", 1), standing("b", 1), standing("d", 2), standing("e", None), standing("z", 2)]
    assert [[one.app.name for one in each] for each in by_owner(found)] == [["a", "b"], ["d", "z"], ["e"]]


def test_slow_releases_hold_up_the_next_app_of_their_owner_and_of_nobody_else(due: list[Standing]) -> None:
    slow = [standing(f"slow-{owner}-{number}", owner) for owner in range(4) for number in range(2)]
    due += [*slow, standing("quick", 9)]
    end, begun, outcomes = threading.Event(), list[str](), list[Any]()

    def act(name: str) -> None:
        begun.append(name)
        if name != "quick":
            assert end.wait(20)

    made = deploys(act, [], patience_s=0.05)
    threading.Thread(target=lambda: outcomes.extend(made.run()), daemon=True).start()
    wait_for(lambda: "quick" in begun)
    assert sorted(begun) == ["quick", *(f"slow-{owner}-0" for owner in range(4))]
    end.set()
    wait_for(lambda: len(outcomes) == 9)
    assert {each.release for each in outcomes} == {7}


def test_one_that_fails_ends_alone_and_each_line_names_its_app(due: list[Standing]) -> None:
    due += [standing("a", 1), standing("b", 1)]
    lines: list[str] = []

    def act(name: str) -> None:
        if name == "a":
            raise BadInput("It cannot be.", "Build it again.")

    assert [(each.app, each.release, each.reason) for each in deploys(act, lines).run()] == [
        ("a", 0, "It cannot be."),
        ("b", 7, ""),
    ]
    assert lines[0] == "-----> Rebasing a" and lines[-1] == "-----> Rebasing b"
    assert [line.split("a: ")[1] for line in lines[1:3]] == ["It cannot be.", "Build it again."]
