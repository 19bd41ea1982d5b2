from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from harness.nouns import make_app, make_deployment, make_image, make_instance, make_release

from paas.converge.plan import Advance, Start
from paas.converge.rollout import Traffic, next_step
from paas.converge.world import AppState, Facts
from paas.nouns.model import Deployment, FormationEntry, Instance

APP = make_app()
IMAGE = make_image(processes={"web": "serve", "release": "migrate"})
release = make_release
FAILURE = {"code": "deploy_failed", "message": "web.1 exited", "cause": "exited with status 1"}


def deployment(state: str, **changes: Any) -> Deployment:
    return make_deployment(state, **{"created_at": 100.0, "step_at": 100.0, **changes})


def candidate(id: int, number: int = 1, **changes: Any) -> Instance:
    """An instance of the release that is being deployed."""
    plain = {"release_number": 2, "deployment_id": 7, "state": "starting", "healthy_at": None}
    return make_instance(id, number=number, **{**plain, **changes})


def step(now_in: str, *tried: Instance, **changes: Any) -> list[Any]:
    facts = changes.pop("facts", Facts(containers={}))
    traffic = changes.pop("traffic", None)
    live = changes.pop("live", tuple(i for i in tried if i.ended_at is None))
    of = AppState(
        app=changes.pop("app", APP),
        release=release(1),
        image=changes.pop("image", IMAGE),
        formation=changes.pop("formation", None)
        or {"web": FormationEntry("a1", "web", changes.pop("web", 2))},
        deployment=changes.pop("deployment", deployment(now_in)),
        new_release=release(2, state="pending"),
        new_image=changes.pop("new_image", IMAGE),
        live=live,
        tried=tried,
        began_at=changes.pop("began_at", 0.0),
        has_certificate=changes.pop("has_certificate", False),
    )
    return next_step(
        of, facts, now=101.5, boot_timeout_s=60, url="http://hello.localhost/", traffic=traffic
    ).actions


def test_a_push_with_a_release_command_runs_it_first() -> None:
    assert step("pending") == [
        Advance(7, "releasing", ("-----> Release v2", "       Running release command: migrate"))
    ]


def test_other_deployments_start_at_once() -> None:
    lines = ("-----> Release v2", "-----> Starting web=2")
    assert step("pending", deployment=deployment("pending", push=False)) == [Advance(7, "starting", lines)]


def test_the_release_command_is_started_once() -> None:
    assert step("releasing") == [Start("a1", "release", "release", 2, 2, 7)]
    running = candidate(9, kind="release", type="release", number=2)
    assert step("releasing", running) == []


def test_a_release_command_that_succeeded_leads_to_the_start() -> None:
    done = candidate(9, kind="release", type="release", state="ended", ended_at=101.0)
    assert step("releasing", done) == [Advance(7, "starting", ("-----> Starting web=2",))]


def test_a_release_command_that_failed_fails_the_deployment_with_its_diagnosis() -> None:
    bad = candidate(
        9, kind="release", type="release", state="ended", ended_at=101.0,
        cause="exited with status 1", detail={"diagnosis": FAILURE},
    )  # fmt: skip
    assert step("releasing", bad) == [Advance(7, "failed", error=FAILURE)]


def test_starting_fills_every_slot_of_the_new_release() -> None:
    assert step("starting", candidate(3)) == [Start("a1", "process", "web", 2, 2, 7)]


def test_a_candidate_whose_container_was_lost_is_started_again() -> None:
    gone = candidate(3, state="ended", ended_at=101.0, cause="host restart", detail={"why": "host restart"})
    assert step("starting", gone, candidate(4, number=2)) == [Start("a1", "process", "web", 1, 2, 7)]


def test_a_candidate_with_a_diagnosis_fails_the_deployment() -> None:
    bad = candidate(3, state="stopping", detail={"diagnosis": FAILURE})
    assert step("starting", bad, candidate(4, number=2, state="up")) == [Advance(7, "failed", error=FAILURE)]


def test_traffic_switches_only_when_all_are_up() -> None:
    up = [candidate(3, state="up"), candidate(4, number=2, state="up")]
    assert step("starting", up[0], candidate(4, number=2)) == []
    assert step("starting", *up) == [Advance(7, "switching")]


def test_scaling_during_a_deployment_adds_candidates() -> None:
    up = [candidate(3, state="up"), candidate(4, number=2, state="up")]
    assert step("starting", *up, web=3) == [Start("a1", "process", "web", 3, 2, 7)]
    assert step("starting", *up, web=1) == [Advance(7, "switching")]


def test_an_app_scaled_to_nothing_deploys_without_instances() -> None:
    assert step("starting", web=0) == [Advance(7, "switching")]
    assert step("switching", web=0) == [Advance(7, "draining")]


def test_the_commit_point_waits_until_every_router_worker_has_the_table() -> None:
    up = [candidate(3, state="up"), candidate(4, number=2, state="up")]
    assert step("switching", *up) == []
    assert step("switching", *up, facts=Facts(containers={}, acked=True)) == [Advance(7, "draining")]


def test_a_router_that_never_answers_fails_the_deployment() -> None:
    up = [candidate(3, state="up"), candidate(4, number=2, state="up")]
    (action,) = step("switching", *up, facts=Facts(containers={}, step_age_s=lambda id: 21.0))
    assert (action.state, action.error["cause"]) == ("failed", "router unavailable")


def test_cancelling_works_at_every_step_before_the_commit_point_and_never_after() -> None:
    for now_in in ("pending", "releasing", "starting", "switching"):
        asked = deployment(now_in, cancel_requested=True)
        (action,) = step(now_in, deployment=asked, facts=Facts(containers={}, acked=True))
        assert (action.state, action.error["cause"]) == ("cancelled", "cancelled")
    asked = deployment("draining", cancel_requested=True)
    (action,) = step("draining", candidate(3, state="up"), deployment=asked)
    assert action.state == "succeeded"


def test_the_end_tells_what_happened_to_traffic() -> None:
    up = [candidate(3, state="up"), candidate(4, number=2, state="up")]
    facts = Facts(containers={}, step_age_s=lambda id: 0.2)
    assert step("draining", *up, facts=facts, traffic=Traffic(214, 0)) == [
        Advance(
            7,
            "succeeded",
            (
                "-----> Traffic switched to v2, v1 drained in 0.2 s",
                "       http://hello.localhost/ is live · 1.5 s · 214 requests during the switch, 0 failed",
            ),
        )
    ]


def test_a_push_takes_as_long_as_its_build_and_its_deployment() -> None:
    up = [candidate(3, state="up"), candidate(4, number=2, state="up")]
    (action,) = step("draining", *up, began_at=80.0)
    assert action.lines[1] == "       http://hello.localhost/ is live · 21.5 s"


def test_a_new_process_type_of_which_none_runs_is_mentioned_once() -> None:
    image = replace(IMAGE, processes={**IMAGE.processes, "clock": "tick"})
    formation = {kind: FormationEntry("a1", kind, n) for kind, n in (("web", 1), ("clock", 0))}
    plain = deployment("pending", push=False)
    (action,) = step("pending", deployment=plain, new_image=image, formation=formation)
    assert action.lines[1:] == (
        "-----> Starting web=1",
        "       No clock is started; start one with: paas scale clock=1 -a hello",
    )
    (action,) = step("pending", deployment=plain, new_image=image, formation=formation, image=image)
    assert action.lines[1:] == ("-----> Starting web=1",)


def test_a_long_request_on_the_old_release_does_not_hold_the_push() -> None:
    up = [candidate(3, state="up"), candidate(4, number=2, state="up")]
    old = candidate(1, release_number=1, deployment_id=None, state="draining")
    assert step("draining", *up, live=(old, *up), facts=Facts(containers={}, step_age_s=lambda id: 0.5)) == []
    (action,) = step("draining", *up, live=(old, *up), facts=Facts(containers={}, step_age_s=lambda id: 2.1))
    assert action.lines[0] == "-----> Traffic switched to v2, v1 still answers requests in flight"


def test_an_image_that_is_gone_fails_the_deployment() -> None:
    (action,) = step("starting", new_image=None)
    assert (action.state, action.error["cause"]) == ("failed", "image gone")


def test_nothing_moves_while_the_spawner_is_away_or_the_app_is_destroyed() -> None:
    assert step("pending", facts=Facts(containers=None)) == []
    assert step("pending", app=replace(APP, destroying=True)) == []


def test_a_push_whose_first_answer_was_an_error_is_not_called_live() -> None:
    up = [
        candidate(3, state="up", detail={"answered": "GET / answered 500"}),
        candidate(4, number=2, state="up"),
    ]
    (action,) = step("draining", *up)
    assert action.lines[1].startswith(" !     http://hello.localhost/ serves v")
    assert "but GET / answered 500" in action.lines[1]
    assert action.lines[2] == " !     Find the reason: paas logs -a hello"
    assert "is live" not in " ".join(action.lines)
    why = {"answered": "GET / answered 500", "reason": "The app's own error: X: y\nDo z."}
    (told,) = step("draining", candidate(3, state="up", detail=why), candidate(4, number=2, state="up"))
    assert list(told.lines[2:5]) == [
        " !     The app's own error: X: y",
        " !     Do z.",
        " !     More: paas logs -a hello",
    ]


@pytest.mark.parametrize(("certificate", "warned"), [(False, True), (True, False)])
def test_a_redirect_to_https_is_mentioned_where_no_certificate_answers(
    certificate: bool, warned: bool
) -> None:
    up = [
        candidate(3, state="up", detail={"answered": "GET / leads to https", "to_https": True}),
        candidate(4, number=2, state="up"),
    ]
    (action,) = step("draining", *up, has_certificate=certificate)
    assert "is live" in action.lines[1]
    assert any("no certificate" in line for line in action.lines) is warned


def test_a_worker_that_fails_a_push_is_named_with_the_command_that_leaves_it_out() -> None:
    for kind, way_out in (("worker", True), ("web", False)):
        error = {"message": "It broke.", "hint": "Mend it.", "cause": "x"}
        (action,) = step("starting", candidate(3, type=kind, state="ended", detail={"diagnosis": error}))
        assert action.error is not None
        assert ("To push without it: paas scale worker=0 -a hello" in action.error["hint"]) is way_out
        assert action.error["hint"].startswith("Mend it.")
