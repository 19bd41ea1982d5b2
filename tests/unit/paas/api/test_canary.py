"""A canary through the api: begun, changed, promoted, stopped; and one that does not come up is gone again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from harness.flask_api import FlaskApi, serve_worker
from harness.rows import app_of, deployed, loop_at_work

from paas.store import canaries
from runtime.frames import encode_json


@pytest.fixture
def path(api: FlaskApi, name: str) -> Iterator[str]:
    """The address of an app that serves its second release with two instances."""
    deployed(api, name, web="old")
    deployed(api, name, web="new")
    with loop_at_work(api):
        changes = {"changes": {"web": {"quantity": 2}}}
        assert "result" in api.ask("PATCH", f"/v1/apps/{name}/formation", changes).end
    yield f"/v1/apps/{name}"


def begin(api: FlaskApi, path: str, **wanted: int) -> Any:
    return api.ask("POST", f"{path}/canary", wanted).end


def sides(shown: dict[str, Any]) -> list[tuple[str, int, int, int, int]]:
    keys = ("role", "release", "share", "quantity")
    return [(*(side[key] for key in keys), len(side["up"])) for side in shown["sides"]]


def test_a_canary_begins_with_a_tenth_and_one_instance(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        end = begin(api, path, release=1)
    assert end["result"]["canary"].items() >= {"release": 1, "share": 10, "quantity": 1}.items()
    assert end["result"]["applied"] is False, "no router runs here"
    shown = api.ask("GET", f"{path}/canary").json
    assert sides(shown) == [("serving", 2, 90, 2, 2), ("canary", 1, 10, 1, 1)]
    assert [(side["requests"], side["errors"]) for side in shown["sides"]] == [(0, 0), (0, 0)]
    said = [line["line"].partition(": ")[2] for line in api.ask("GET", f"{path}/logs").lines]
    assert said[-1] == "Canary v1: 10 % of the requests, by root"


def test_a_change_of_its_share_starts_nothing_and_one_of_its_count_does(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        begin(api, path, release=1)
        lines = api.ask("POST", f"{path}/canary", {"share": 50}).lines
        assert [message for message in lines if "line" in message] == []
        assert lines[-1]["result"]["canary"].items() >= {"release": 1, "share": 50, "quantity": 1}.items()
        lines = api.ask("POST", f"{path}/canary", {"quantity": 2}).lines
    assert any(message.get("line", "").startswith("canary.2 up") for message in lines)
    assert sides(lines[-1]["result"]) == [("serving", 2, 50, 2, 2), ("canary", 1, 50, 2, 2)]


def test_until_an_instance_of_it_is_up_the_serving_release_gets_everything(
    api: FlaskApi, path: str, name: str
) -> None:
    app_id = app_of(api, name).id
    with api.store.write() as tx:
        canaries.put(tx, app_id, 1, share=30, quantity=1)
    shown = api.ask("GET", f"{path}/canary").json
    assert shown["canary"]["share"] == 30
    assert sides(shown) == [("serving", 2, 100, 2, 2), ("canary", 1, 0, 1, 0)]


def test_one_that_does_not_come_up_is_ended_and_nothing_else(api: FlaskApi, path: str) -> None:
    with loop_at_work(api, failing="canary.1"):
        reply = api.ask("POST", f"{path}/canary", {"release": 1})
    assert reply.end["error"]["message"] == "canary.1 did not come up: exited with status 3."
    assert {"line": " !     The canary v1 is stopped"} in reply.lines
    assert api.ask("GET", f"{path}/canary").json == {"canary": None, "sides": []}
    assert api.ask("GET", path).json["release"] == 2


def test_promoting_deploys_its_release_under_a_new_number(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        begin(api, path, release=1)
        end = api.ask("POST", f"{path}/canary/promote", {}).end
    assert (end["result"]["promoted"], end["result"]["release"]["version"]) == (1, "v3")
    assert end["result"]["release"]["description"] == "Promote canary v1"
    assert api.ask("GET", f"{path}/canary").json["canary"] is None


def test_stopping_leaves_the_serving_release(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        begin(api, path, release=1)
        reply = api.ask("DELETE", f"{path}/canary")
    assert reply.json == {"stopped": 1, "release": 2, "applied": False}
    verbs = [event["verb"] for event in api.ask("GET", "/v1/events").json["events"]]
    assert verbs[-1] == "canary.end"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 404, "has no canary."),
        ({"share": 5}, 404, "has no canary."),
        ({"release": 2}, 422, "v2 serves already."),
        ({"release": 9}, 404, "v9"),
        ({"release": 1, "share": 101}, 422, "101"),
        ({"release": 1, "quantity": 0}, 422, "0"),
    ],
)
def test_what_cannot_be_a_canary_is_refused_before_anything_starts(
    api: FlaskApi, path: str, body: Any, status: int, message: str
) -> None:
    reply = api.ask("POST", f"{path}/canary", body)
    assert reply.status == status and message in reply.error["message"], reply.body
    assert api.ask("GET", f"{path}/canary").json["canary"] is None


def test_requests_are_summed_over_the_workers_and_nonsense_counts_nothing(api: FlaskApi, path: str) -> None:
    with loop_at_work(api):
        begin(api, path, release=1)
    (up,) = api.ask("GET", f"{path}/canary").json["sides"][1]["up"]
    answers: list[Any] = [
        {"backends": {up: {"requests": 5, "errors": 1}}},
        {"backends": {up: {"requests": 7, "errors": True}}},
        {"backends": {up: [3]}},
        {"backends": "none"},
        [],
    ]
    folder = api.layout.router_control
    folder.mkdir()
    for number, answer in enumerate(answers):
        serve_worker(folder / f"worker-{number}.sock", encode_json(answer))
    canary = api.ask("GET", f"{path}/canary").json["sides"][1]
    shutil.rmtree(folder)
    assert (canary["requests"], canary["errors"]) == (12, 1)
