"""What the loop does for a canary: from rows to actions, and from rows to the router's table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from harness.nouns import make_app, make_deployment, make_image, make_instance, make_release

from paas.converge.plan import Drain, Reap, Start, Stop, Timeouts, plan_app
from paas.converge.rollout import next_step
from paas.converge.world import AppState, Facts
from paas.nouns.model import Canary, Deployment, FormationEntry, Instance, Release
from paas.routing.table import route_table

APP = make_app(release_number=5)
IMAGE = make_image(processes={"web": "serve", "worker": "work"})


def release(number: int, config: int = 0) -> Release:
    return make_release(number, config_number=config)


def web(id: int, number: int = 1, release: int = 5, **changes: Any) -> Instance:
    plain = {"number": number, "release_number": release, "address": f"10.0.0.{id}"}
    return make_instance(id, **{**plain, **changes})


def canary(id: int, number: int = 1, release: int = 3, **changes: Any) -> Instance:
    return web(id, number, release, canary=True, **changes)


def state(*live: Instance, quantity: int = 1, share: int = 10, **changes: Any) -> AppState:
    plain = AppState(
        app=APP,
        release=release(5),
        image=IMAGE,
        formation={"web": FormationEntry("a1", "web", 1)},
        live=live,
        hosts=("hello.localhost",),
        canary=Canary("a1", 3, share, quantity, 0.0),
        canary_release=release(3, 7),
        canary_image=IMAGE,
    )
    return replace(plain, **changes)


def without_canary(of: AppState) -> AppState:
    return replace(of, canary=None, canary_release=None, canary_image=None)


def actions(of: AppState, *, exited: tuple[int, ...] = (), now: float = 1000.0, **seen: Any) -> list[Any]:
    containers = {i.runtime_id: "exited" if i.id in exited else "running" for i in of.live}
    return plan_app(of, Facts(containers=containers, **seen), now, Timeouts()).actions


def start(number: int) -> Start:
    return Start("a1", "process", "web", number, 3, canary=True)


def table(of: AppState) -> tuple[Any, Any, dict[str, dict[str, bool]]]:
    """Pool and shares of the route, and pool -> backend -> draining."""
    found = route_table([of], 1)
    pools = {name: {b["id"]: b["draining"] for b in members} for name, members in found["pools"].items()}
    return found["routes"][0]["pool"], found["routes"][0].get("shares"), pools


# instances


def test_a_canary_runs_beside_web_in_slots_of_its_own() -> None:
    assert actions(state(web(1), quantity=2)) == [start(1), start(2)]
    assert actions(state(web(1), canary(2), canary(3, 2), quantity=2)) == []
    assert [canary(2).name, web(1).name] == ["canary.1", "web.1"]


def test_fewer_canaries_or_none_drain_what_is_too_much() -> None:
    both = state(web(1), canary(2), canary(3, 2))
    assert actions(both) == [Drain(3)]
    assert actions(without_canary(both)) == [Drain(2), Drain(3)]
    assert actions(without_canary(state(web(1), canary(2, state="starting")))) == [Stop(2)]


def test_instances_of_a_canary_before_leave() -> None:
    assert actions(state(web(1), canary(2, release=2), canary(3))) == [Drain(2)]


@pytest.mark.parametrize("changes", [{"quantity": 0}, {"quantity": 1, "stopped": True}])
def test_no_canary_runs_while_web_does_not(changes: dict[str, Any]) -> None:
    formation = {"web": FormationEntry("a1", "web", **changes)}
    assert actions(state(canary(2), formation=formation)) == [Drain(2)]
    assert actions(state(formation=formation)) == []


def test_a_canary_that_crashes_is_started_again_with_growing_pauses() -> None:
    assert actions(state(web(1), canary(2)), exited=(2,))[0] == Reap(2)
    ended = {"state": "ended", "ended_at": 999.0, "healthy_at": None, "cause": "exited with status 1"}
    once = {("canary", 1): (canary(2, **ended),)}
    assert actions(state(web(1), ended=once)) == [start(1)]
    often = {("canary", 1): tuple(canary(id, **ended) for id in (5, 4, 3, 2))}
    assert actions(state(web(1), ended=often)) == []
    assert actions(state(web(1), ended=often), now=1010.0) == [start(1)]


def test_a_crash_of_web_1_is_not_one_of_canary_1() -> None:
    ended = {"state": "ended", "ended_at": 999.0, "healthy_at": None, "cause": "exited with status 1"}
    often = {("web", 1): tuple(web(id, **ended) for id in (5, 4, 3))}
    assert actions(state(ended=often)) == [start(1)]


def test_a_restart_of_all_replaces_the_canary_too() -> None:
    app = replace(APP, restart_token=1)
    fresh = web(1, restart_token=1)
    assert actions(state(fresh, canary(2), app=app)) == [start(1)]
    assert actions(state(fresh, canary(2), canary(3, restart_token=1), app=app)) == [Drain(2)]


def test_destroying_takes_the_canary_with_it() -> None:
    app = replace(APP, destroying=True)
    assert actions(state(canary(2), app=app)) == [Stop(2, why="app destroyed")]
    assert route_table([state(canary(2), app=app)], 1)["routes"] == []


# a deployment


def deployment(step: str) -> Deployment:
    return make_deployment(step, release_number=6, from_release=5, push=False)


def test_a_canary_goes_on_until_a_deployment_has_switched() -> None:
    rows = (web(1), canary(2), web(3, release=6, deployment_id=7))
    of = state(*rows, deployment=deployment("starting"), new_release=release(6, 8), new_image=IMAGE)
    assert actions(of) == []
    assert table(of)[1] == {"a1": 90, "a1.canary": 10}
    switching = replace(of, deployment=deployment("switching"))
    assert table(switching) == ("a1", None, {"a1": {"i1": True, "i2": True, "i3": False}})
    app = replace(APP, release_number=6)
    after = without_canary(replace(of, app=app, release=release(6, 8), deployment=deployment("draining")))
    assert Drain(2) in actions(after) and Drain(1) in actions(after)


@pytest.mark.parametrize(
    ("config", "line"),
    [(8, " !     v6 ends the canary v3"), (7, "-----> Canary v3 promoted")],
)
def test_whoever_deploys_hears_what_becomes_of_the_canary(config: int, line: str) -> None:
    of = state(
        web(1), canary(2), deployment=deployment("switching"), new_release=release(6, config), new_image=IMAGE
    )
    (step,) = next_step(of, Facts(containers={}, acked=True), now=1.0, boot_timeout_s=60).actions
    assert (step.state, step.lines) == ("draining", (line,))


# the router's table


def test_each_side_has_a_pool_and_its_share() -> None:
    of = state(web(1), canary(2), share=30)
    expected = ("a1", {"a1": 70, "a1.canary": 30}, {"a1": {"i1": False}, "a1.canary": {"i2": False}})
    assert table(of) == expected


@pytest.mark.parametrize("step", ["starting", "stopping"])
def test_a_canary_without_a_healthy_instance_has_no_share(step: str) -> None:
    assert table(state(web(1), canary(2, state=step))) == ("a1", None, {"a1": {"i1": False}})


def test_a_canary_that_leaves_finishes_what_it_has() -> None:
    leaving = canary(2, state="draining")
    assert table(without_canary(state(web(1), leaving))) == ("a1", None, {"a1": {"i1": False, "i2": True}})
    still = canary(2)
    assert table(without_canary(state(web(1), still))) == ("a1", None, {"a1": {"i1": False, "i2": True}})


def test_while_the_serving_release_has_no_healthy_instance_the_canary_gets_everything() -> None:
    assert table(state(canary(2))) == ("a1.canary", None, {"a1.canary": {"i2": False}})
    both = state(web(1, state="draining"), canary(2))
    assert table(both) == ("a1.canary", None, {"a1": {"i1": True}, "a1.canary": {"i2": False}})
