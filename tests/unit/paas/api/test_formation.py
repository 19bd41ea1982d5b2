"""Scale, stop, restart and limits of an app that serves: what is streamed, what is left, what is taken back."""

from __future__ import annotations

from typing import Any

import pytest
from harness.flask_api import FlaskApi
from harness.rows import app_of, deployed, loop_at_work

from paas.api.formation import _scale_back
from paas.nouns.errors import DeployFailed
from paas.store import formations, instances


@pytest.fixture
def path(api: FlaskApi, name: str) -> str:
    """The address of an app that serves its first release, of which nothing runs."""
    deployed(api, name, web="run", worker="work", release="migrate")
    return f"/v1/apps/{name}"


def scale(api: FlaskApi, path: str, **quantities: int) -> Any:
    changes = {type: {"quantity": quantity} for type, quantity in quantities.items()}
    return api.ask("PATCH", f"{path}/formation", {"changes": changes})


def quantities(api: FlaskApi, path: str) -> dict[str, int]:
    formation = api.ask("GET", f"{path}/formation").json["formation"]
    return {one["type"]: one["quantity"] for one in formation}


def said(api: FlaskApi, path: str) -> list[str]:
    return [line["line"].partition(": ")[2] for line in api.ask("GET", f"{path}/logs").lines]


def stream_of(reply: Any) -> list[str]:
    return [message["line"] for message in reply.lines if "line" in message]


def test_what_comes_up_is_streamed_and_the_formation_is_the_answer(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        reply = scale(api, path, web=2, worker=1)
        up = sorted(line.partition(" (")[0] for line in stream_of(reply))
        assert up == ["web.1 up", "web.2 up", "worker.1 up"]
        assert [one["quantity"] for one in reply.end["result"]["formation"]] == [2, 1]
        reply = api.ask("PATCH", f"{path}/formation", {"changes": {"web": {"delta": -1}}})
    assert stream_of(reply) == ["web.2 ended: stopped"]
    assert quantities(api, path) == {"web": 1, "worker": 1}
    assert said(api, path)[-2:] == ["Scaled to web@2 worker@1 by root", "Scaled to web@1 by root"]


def test_a_scale_of_which_an_instance_does_not_come_up_is_taken_back(api: FlaskApi, path: str) -> None:
    with loop_at_work(api, failing="web.2"):
        assert "error" not in scale(api, path, web=1).end
        error = scale(api, path, web=3, worker=1).end["error"]
    assert error["message"] == "web.2 did not come up: exited with status 3."
    assert error["hint"] == "Scaled back to web=1 worker=0. See: paas logs"
    assert quantities(api, path) == {"web": 1, "worker": 0}
    assert said(api, path)[-1] == f"Scaled back to web=1 worker=0: {error['message']}"
    verbs = [event["verb"] for event in api.ask("GET", "/v1/events").json["events"]]
    assert verbs[-2:] == ["formation.scale", "formation.scale"]


def test_a_quantity_that_somebody_changed_meanwhile_is_not_taken_back(
    api: FlaskApi, path: str, name: str
) -> None:
    app, error = app_of(api, name), DeployFailed("web.2 did not come up.", "See: paas logs", cause="ended")
    with api.store.write() as tx:
        formations.set_quantity(tx, app.id, "web", 5)
        formations.set_quantity(tx, app.id, "worker", 2)
    old, done = {"web": 1, "worker": 0, "gone": 0}, {"web": 2, "worker": 2, "gone": 1}
    answer = _scale_back(api.context, app, "root", old, done, error)
    assert answer.hint == "Scaled back to worker=0. See: paas logs"
    assert quantities(api, path) == {"web": 5, "worker": 0}
    assert _scale_back(api.context, app, "root", {"web": 1}, {"web": 2}, error) is error
    assert _scale_back(api.context, app, "root", {"worker": 3}, {"worker": 0}, error) is error, "scaled down"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"changes": {}}, "No process type is named."),
        ({"changes": {"release": {"quantity": 1}}}, "release"),
        ({"changes": {"web": {"quantity": 10_000}}}, "10000"),
        ({"changes": {"web": {"delta": 10_000}}}, "10000"),
        ({"changes": {"web": {"quantity": 1, "delta": 1}}}, "is not an object with the keys delta."),
        ({"changes": {"web": 3}}, "3 is not an object with the keys quantity."),
    ],
)
def test_a_scale_that_makes_no_sense_changes_nothing(
    api: FlaskApi, path: str, body: Any, message: str
) -> None:
    reply = api.ask("PATCH", f"{path}/formation", body)
    assert reply.status == 422 and message in reply.error["message"]
    assert quantities(api, path) == {"web": 0, "worker": 0}


def test_before_the_first_push_there_is_nothing_to_scale(api: FlaskApi, name: str) -> None:
    for method, rest, body in (
        ("PATCH", "formation", {"changes": {"web": {"quantity": 1}}}),
        ("POST", "restart", {}),
        ("POST", "stop", {}),
        ("PATCH", "limits", {"web": {"pids": 99}}),
    ):
        reply = api.ask(method, f"/v1/apps/{name}/{rest}", body)
        assert (reply.status, reply.error["hint"]) == (409, "Push it first: git push paas main"), rest


def test_a_restart_replaces_what_it_names_and_nothing_else(api: FlaskApi, path: str, name: str) -> None:
    def live() -> dict[str, int]:
        with api.store.read() as tx:
            return {i.name: i.id for i in instances.live_of(tx, app_of(api, name).id)}

    with loop_at_work(api):
        scale(api, path, web=2, worker=1)
        for body, replaced, line in (
            ({"name": "web.2"}, {"web.2"}, "Restart web.2 by root"),
            ({"type": "worker"}, {"worker.1"}, "Restart worker by root"),
            ({}, {"web.1", "web.2", "worker.1"}, "Restart all processes by root"),
        ):
            before = live()
            assert "result" in api.ask("POST", f"{path}/restart", body).end
            after = live()
            assert {name for name in before if before[name] != after[name]} == replaced
            assert said(api, path)[-1] == line


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"type": "cron"}, 404, "has no process type cron."),
        ({"type": "worker", "name": "web.1"}, 422, "The type and the name disagree."),
        ({"name": "web.9"}, 404, "has no web.9."),
        ({"name": "web"}, 422, "web"),
    ],
)
def test_a_restart_of_what_is_not_there_is_refused(
    api: FlaskApi, path: str, body: Any, status: int, message: str
) -> None:
    reply = api.ask("POST", f"{path}/restart", body)
    assert reply.status == status and message in reply.error["message"]


def test_a_stopped_type_keeps_its_quantity_until_it_is_started_again(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        scale(api, path, web=2, worker=1)
        reply = api.ask("POST", f"{path}/stop", {"type": "web"})
        assert sorted(stream_of(reply)) == ["web.1 ended: stopped", "web.2 ended: stopped"]
        web, worker = reply.end["result"]["formation"]
        assert (web["quantity"], web["stopped"], worker["stopped"]) == (2, True, False)
        reply = api.ask("POST", f"{path}/restart", {"type": "web"})
    assert [one["stopped"] for one in reply.end["result"]["formation"]] == [False, False]


def test_a_process_of_the_formation_is_not_stopped_by_itself(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        scale(api, path, web=1)
        reply = api.ask("POST", f"{path}/stop", {"name": "web.1"})
    assert (reply.status, reply.error["message"]) == (422, "web.1 would be started again.")


def test_limits_become_a_release_and_keep_what_was_set_before(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        first = api.ask(
            "PATCH", f"{path}/limits", {"web": {"memory_bytes": 256 << 20, "cpu_millis": 500}}
        ).end
        assert first["result"]["release"]["description"] == "Set web limits memory=256M cpu=0.5"
        second = api.ask("PATCH", f"{path}/limits", {"web": {"pids": 100}, "run": {"pids": 50}}).end
    assert second["result"]["release"]["description"] == "Set web limits pids=100, run limits pids=50"
    limits = second["result"]["limits"]
    assert limits["web"] == {"memory_bytes": 256 << 20, "cpu_millis": 500, "pids": 100}
    assert limits["run"]["pids"] == 50 and limits["worker"]["pids"] == 256
    assert api.ask("GET", f"{path}/limits").json["limits"] == limits


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 422, "No limit is named."),
        ({"web": {}}, 422, "No limit is named."),
        ({"web": 5}, 422, "The limits of a type are not an object."),
        ({"cron": {"pids": 99}}, 404, "has no process type cron."),
        ({"web": {"pids": 0}}, 422, "pids"),
        ({"web": {"disk": 5}}, 422, "disk"),
    ],
)
def test_limits_that_make_no_sense_make_no_release(
    api: FlaskApi, path: str, body: Any, status: int, message: str
) -> None:
    reply = api.ask("PATCH", f"{path}/limits", body)
    assert reply.status == status and message in reply.error["message"], reply.body
    assert api.ask("GET", f"{path}/releases").json["current"] == 1
