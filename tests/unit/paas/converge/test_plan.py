from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from harness.nouns import make_app, make_deployment, make_formation, make_image, make_instance, make_release

from paas.converge.health import Answer
from paas.converge.plan import (
    Drain,
    Fail,
    Kill,
    MarkUp,
    Reap,
    RemoveApp,
    Start,
    Stop,
    Terminate,
    Timeouts,
    plan_app,
    restart_delay_s,
)
from paas.converge.world import AppState, Facts
from paas.nouns.model import FormationEntry, Instance

APP = make_app()
IMAGE = make_image(processes={"web": "serve", "worker": "work", "release": "migrate"})
release, instance, formation = make_release, make_instance, make_formation


def ended(
    id: int, *, at: float, up_s: float | None = None, cause: str = "exited with status 1", **changes: Any
) -> Instance:
    healthy = None if up_s is None else at - up_s
    return instance(id, state="ended", ended_at=at, healthy_at=healthy, cause=cause, **changes)


def state(*live: Instance, **changes: Any) -> AppState:
    plain = AppState(APP, release(1), IMAGE, formation(web=1), live=live)
    return replace(plain, **changes)


def facts(*instances: Instance, exited: tuple[int, ...] = (), **changes: Any) -> Facts:
    containers = {i.runtime_id: "exited" if i.id in exited else "running" for i in instances}
    return Facts(containers=containers, **changes)


def actions(of: AppState, seen: Facts, now: float = 1000.0) -> list[Any]:
    return plan_app(of, seen, now, Timeouts()).actions


def start(kind: str = "web", number: int = 1, release_number: int = 1) -> Start:
    return Start("a1", "process", kind, number, release_number)


def test_an_empty_slot_is_filled() -> None:
    assert actions(state(), facts()) == [start()]


def test_what_runs_as_wanted_is_left_alone() -> None:
    web = instance(1)
    assert actions(state(web), facts(web)) == []


def test_nothing_is_decided_while_the_spawner_is_away() -> None:
    assert actions(state(), Facts(containers=None)) == []


def test_scaling_up_fills_the_higher_slots_and_web_comes_first() -> None:
    web = instance(1)
    of = state(web, formation=formation(worker=1, web=3))
    assert actions(of, facts(web)) == [start("web", 2), start("web", 3), start("worker", 1)]


def test_scaling_down_drains_web_and_stops_others() -> None:
    rows = [instance(1), instance(2, number=2), instance(3, type="worker")]
    assert actions(state(*rows, formation=formation(web=1, worker=0)), facts(*rows)) == [Drain(2), Stop(3)]


def test_a_stopped_type_leaves_and_is_not_started_again() -> None:
    web = instance(1)
    stopped = {"web": FormationEntry("a1", "web", 1, stopped=True)}
    assert actions(state(web, formation=stopped), facts(web)) == [Drain(1)]
    assert actions(state(formation=stopped), facts()) == []


def test_a_type_that_the_image_does_not_have_is_not_started() -> None:
    assert actions(state(formation=formation(cron=2)), facts()) == []


def test_the_release_command_is_never_part_of_the_formation() -> None:
    assert actions(state(formation=formation(release=1)), facts()) == []


def test_a_healthy_answer_marks_up_with_its_note() -> None:
    web = instance(1, state="starting")
    assert actions(state(web), facts(web, ready={1: Answer(True, 500, "GET / answered 500")})) == [
        MarkUp(1, "GET / answered 500")
    ]


def test_a_failed_boot_is_ended_with_its_diagnosis() -> None:
    web = instance(1, state="starting")
    error = _never_listened()
    assert actions(state(web), facts(web, failed={1: error})) == [Fail(1, error)]


def _never_listened() -> Any:
    from paas.converge.diagnosis import Boot, Subject, conclusive
    from runtime.spec import Limits

    return conclusive(Boot(age_s=61), Subject("web.1", "web", Limits()), 60)


def test_an_exited_container_is_reaped_and_its_slot_filled_once_the_row_has_ended() -> None:
    web = instance(1)
    assert actions(state(web), facts(web, exited=(1,))) == [Reap(1)]
    crashed = ended(1, at=999.0, up_s=100)
    assert actions(state(ended={("web", 1): (crashed,)}), facts()) == [start()]


def test_a_row_without_container_is_lost() -> None:
    assert actions(state(instance(1)), facts()) == [Reap(1, lost=True)]


def test_somebody_elses_row_may_wait_for_its_container() -> None:
    run = instance(1, kind="run", type="run", state="starting")
    assert actions(state(run, formation={}), facts(age_s=lambda id: 5.0)) == []
    assert actions(state(run, formation={}), facts(age_s=lambda id: 31.0)) == [Reap(1, lost=True)]


def test_a_run_that_is_stopped_at_once_is_looked_for_before_it_is_given_up() -> None:
    run = instance(1, kind="run", type="run", state="stopping")
    assert actions(state(run, formation={}), facts(age_s=lambda id: 1.0)) == []
    assert actions(state(run, formation={}), facts(run, age_s=lambda id: 1.0)) == [Terminate(1)]
    assert actions(state(run, formation={}), facts(age_s=lambda id: 4.0)) == [Reap(1, lost=True)]


def test_an_ended_run_stays_a_while_for_its_client() -> None:
    run = instance(1, kind="run", type="run")
    assert actions(state(run, formation={}), facts(run, exited=(1,))) == [Stop(1, why="")]
    stopping = replace(run, state="stopping")
    assert actions(state(stopping, formation={}), facts(run, exited=(1,), age_s=lambda id: 5.0)) == []
    assert actions(state(stopping, formation={}), facts(run, exited=(1,), age_s=lambda id: 11.0)) == [Reap(1)]
    detached = replace(run, detail={"detach": True})
    assert actions(state(detached, formation={}), facts(run, exited=(1,))) == [Reap(1)]


def test_a_build_belongs_to_its_builder_until_that_is_dead() -> None:
    build = instance(1, kind="build", type="build", state="starting")
    assert actions(state(build, formation={}), facts(build, exited=(1,), age_s=lambda id: 999.0)) == []
    assert actions(state(build, formation={}), facts(build, orphaned=frozenset([1]))) == [
        Stop(1, why="builder died")
    ]
    assert actions(state(build, formation={}), facts(orphaned=frozenset([1]), age_s=lambda id: 31.0)) == [
        Reap(1, lost=True)
    ]


def test_draining_ends_when_the_router_says_so_or_after_the_timeout() -> None:
    web = instance(1, state="draining")
    none = formation(web=0)
    assert actions(state(web, formation=none), facts(web, age_s=lambda id: 29.0)) == []
    assert actions(state(web, formation=none), facts(web, drained=frozenset(["i1"]))) == [Stop(1)]
    assert actions(state(web, formation=none), facts(web, age_s=lambda id: 30.0)) == [Stop(1)]


def test_what_ignores_sigterm_is_killed_after_the_timeout() -> None:
    web = instance(1, state="stopping")
    none = formation(web=0)
    told = frozenset([1])
    assert actions(state(web, formation=none), facts(web, signalled=told, age_s=lambda id: 29.0)) == []
    assert actions(state(web, formation=none), facts(web, signalled=told, age_s=lambda id: 30.0)) == [Kill(1)]


def test_a_restarted_loop_repeats_the_signal_that_may_not_have_been_sent() -> None:
    web = instance(1, state="stopping")
    none = formation(web=0)
    assert actions(state(web, formation=none), facts(web, age_s=lambda id: 99.0)) == [Terminate(1)]


def test_a_rolling_restart_replaces_one_of_three_at_a_time_and_never_goes_below() -> None:
    app = replace(APP, restart_token=1)
    rows = [instance(n, number=n) for n in (1, 2, 3)]
    of = state(*rows, app=app, formation=formation(web=3))
    assert actions(of, facts(*rows)) == [start("web", 1)]
    booting = instance(4, number=1, restart_token=1, state="starting")
    rows.append(booting)
    assert actions(state(*rows, app=app, formation=formation(web=3)), facts(*rows)) == []
    rows[-1] = replace(booting, state="up")
    assert actions(state(*rows, app=app, formation=formation(web=3)), facts(*rows)) == [Drain(1)]
    rows[0] = replace(rows[0], state="draining")
    assert actions(state(*rows, app=app, formation=formation(web=3)), facts(*rows)) == [start("web", 2)]


def test_instances_of_an_old_release_leave() -> None:
    app = replace(APP, release_number=2)
    old, new, booting = instance(1), instance(2, release_number=2), instance(3, number=2, state="starting")
    of = state(old, new, booting, app=app, release=release(2))
    assert actions(of, facts(old, new, booting)) == [Drain(1), Stop(3)]


def test_candidates_of_an_unfinished_deployment_stay_and_those_of_a_failed_one_leave() -> None:
    deployment = make_deployment("starting", push=False)
    old, candidate = instance(1), instance(2, release_number=2, deployment_id=7, state="starting")
    of = state(
        old, candidate, deployment=deployment, new_release=release(2, state="pending"), new_image=IMAGE
    )
    assert actions(of, facts(old, candidate)) == []
    assert actions(state(old, candidate), facts(old, candidate)) == [Stop(2)]


def test_destroying_stops_everything_then_removes_the_app() -> None:
    app = replace(APP, destroying=True)
    web, run = instance(1), instance(2, kind="run", type="run")
    assert actions(state(web, run, app=app), facts(web, run)) == [
        Stop(1, why="app destroyed"),
        Stop(2, why="app destroyed"),
    ]
    slow = instance(1, state="stopping")
    seen = facts(slow, signalled=frozenset([1]), age_s=lambda id: 6.0)
    assert actions(state(slow, app=app), seen) == [Kill(1)]
    assert actions(state(app=app), facts()) == [RemoveApp("a1")]
    assert actions(state(app=app), facts(removing=frozenset(["a1"]))) == []


def test_the_first_restart_is_immediate_and_later_ones_back_off_to_five_minutes() -> None:
    history: tuple[Instance, ...] = ()
    delays = []
    for n in range(1, 15):
        history = (ended(n, at=float(n)), *history)
        delays.append(restart_delay_s(history, 1))
    assert delays[0] == 0
    for n, delay in enumerate(delays[1:]):
        assert min(300.0, 2.0**n) * 0.8 <= delay <= min(300.0, 2.0**n) * 1.2


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ((ended(3, at=9, release_number=1), ended(2, at=8, release_number=1)), "a new release"),
        ((ended(3, at=9, up_s=61, release_number=2), ended(2, at=8, release_number=2)), "a minute of health"),
        (
            (ended(3, at=9, cause="stopped", detail={"why": "stopped"}, release_number=2),),
            "a stop on purpose",
        ),
        ((), "no history"),
    ],
)
def test_the_back_off_is_reset_by(history: tuple[Instance, ...], why: str) -> None:
    assert restart_delay_s(history, 2) == 0, why


def test_a_slot_that_backs_off_is_started_when_it_is_due() -> None:
    history = (ended(2, at=999.9), ended(1, at=990.0))
    of = state(ended={("web", 1): history})
    plan = plan_app(of, facts(), 1000.0, Timeouts())
    assert plan.actions == []
    assert 0 < plan.wake_s <= 1.2
    assert actions(of, facts(), 1001.2) == [start()]


def test_a_restart_on_demand_does_not_wait_for_the_back_off() -> None:
    history = (ended(2, at=999.9), ended(1, at=990.0))
    asked = replace(APP, restart_token=1)
    assert actions(state(app=asked, ended={("web", 1): history}), facts()) == [start()]


def test_a_clock_set_back_does_not_keep_a_crashed_slot_down() -> None:
    history = (ended(2, at=90_000.0), ended(1, at=89_999.0))
    assert actions(state(ended={("web", 1): history}), facts(), 1000.0) == [start()]
