"""The sentences that the app's log and the push output get."""

from __future__ import annotations

from typing import Any

import pytest
from harness.nouns import APP_ID, make_deployment, make_instance

from paas.converge.app_lines import advanced, ended, up
from paas.converge.plan import Advance
from paas.nouns.errors import DeployFailed
from paas.nouns.model import Canary

MEMORY = DeployFailed("web.1 ran out of memory", cause="out of memory")


@pytest.mark.parametrize(
    ("changes", "exit", "error", "lines"),
    [
        ({"state": "stopping"}, {"status": 0, "signal": None}, None,
         ["Process exited with status 0", "State changed from stopping to stopped"]),
        ({"state": "up"}, {"status": 137, "signal": 9}, MEMORY,
         ["Process ended by signal 9", "Error R15 (Killed for memory): web.1 ran out of memory",
          "State changed from up to crashed (out of memory)"]),
        ({"state": "stopping", "detail": {"diagnosis": {}}}, None, None, []),
        ({"state": "up", "kind": "run"}, {"status": 1, "signal": None}, DeployFailed("no", cause="crashed"),
         ["Process exited with status 1"]),
    ],
)  # fmt: skip
def test_an_end_is_told_by_its_exit_its_cause_and_its_state(
    changes: dict[str, Any], exit: dict[str, Any] | None, error: DeployFailed | None, lines: list[str]
) -> None:
    assert list(ended(make_instance(**changes), exit, error)) == lines


def test_only_the_steps_that_decide_a_deployment_reach_the_app_s_log() -> None:
    deployment, canary = make_deployment("switching", release_number=7), Canary(APP_ID, 6, 10, 1, 0.0)
    assert list(advanced(Advance(1, "switching"), deployment, canary)) == []
    assert list(advanced(Advance(1, "draining"), deployment, canary)) == [
        "Release v7 serves",
        "Canary v6 ended",
    ]
    failed = Advance(1, "failed", error={"message": "It broke."})
    assert list(advanced(failed, deployment, canary)) == ["Release v7 failed: It broke."]
    assert list(advanced(Advance(1, "cancelled"), deployment, None)) == ["Release v7 was cancelled"]


def test_a_web_instance_says_how_soon_it_was_healthy() -> None:
    web = make_instance(type="web", number=1, created_at=10.0, healthy_at=10.25)
    assert up(web, "")[0].strip() == "web.1 up (healthy after 0.25 s)"
    assert up(web, "GET / answers 500")[1].startswith(" !     web")
    worker = make_instance(type="worker", number=2, created_at=10.0, healthy_at=10.25)
    assert [line.strip() for line in up(worker, "")] == ["worker.2 up"]
