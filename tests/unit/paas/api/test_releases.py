"""What is shown of an app with a serving release: its processes, limits, releases, instances, canary."""

from __future__ import annotations

from typing import Any

import pytest
from harness.flask_api import FlaskApi
from harness.rows import deployed


@pytest.fixture
def path(api: FlaskApi, name: str) -> str:
    """The address of an app that serves its first release."""
    deployed(api, name, web="run", worker="work", release="migrate")
    return f"/v1/apps/{name}"


def test_the_release_is_shown_with_what_it_runs(api: FlaskApi, path: str) -> None:
    shown = api.ask("GET", f"{path}/releases").json
    assert shown["current"] == 1
    (release,) = shown["releases"]
    assert (release["version"], release["current"], release["state"], release["actor"]) == (
        "v1",
        True,
        "succeeded",
        "ann",
    )
    whole = api.ask("GET", f"{path}/releases/v1").json
    assert whole.items() >= release.items()
    assert whole["processes"] == {"web": "run", "worker": "work", "release": "migrate"}
    assert (whole["config_names"], whole["limits"]) == ([], {})


def test_the_formation_has_every_process_but_the_release_command(api: FlaskApi, path: str) -> None:
    formation = api.ask("GET", f"{path}/formation").json["formation"]
    assert [(one["type"], one["quantity"], one["stopped"]) for one in formation] == [
        ("web", 0, False),
        ("worker", 0, False),
    ]
    assert api.ask("GET", path).json["processes"] == formation
    limits = api.ask("GET", f"{path}/limits").json["limits"]
    assert (
        limits["web"]
        == formation[0]["limits"]
        == {"memory_bytes": 512 << 20, "cpu_millis": 1000, "pids": 256}
    )


@pytest.mark.parametrize(
    ("method", "rest", "body", "status", "message"),
    [
        ("PATCH", "formation", {"changes": {"cron": {"quantity": 1}}}, 404, "has no process type cron."),
        ("PATCH", "formation", {"changes": {"web": {"delta": -3}}}, 422, "web cannot be scaled to -3."),
        ("PATCH", "limits", {"cron": {"pids": 9}}, 404, "has no process type cron."),
        ("POST", "restart", {"name": "web.3"}, 404, "has no web.3."),
        ("POST", "stop", {"name": "run.9"}, 404, "has no run.9."),
        ("POST", "rollback", {"to": "v9"}, 404, ""),
        ("GET", "releases/v9", None, 404, "has no release v9."),
        ("GET", "config?release=v9", None, 404, "has no release v9."),
        ("POST", "canary/promote", {}, 404, "no canary"),
        ("DELETE", "canary", None, 404, "no canary"),
    ],
)
def test_what_is_not_there(
    api: FlaskApi, path: str, method: str, rest: str, body: Any, status: int, message: str
) -> None:
    reply = api.ask(method, f"{path}/{rest}", body)
    assert reply.status == status, reply.body
    assert message in reply.error["message"]


def test_without_a_canary_there_is_nothing_to_show(api: FlaskApi, path: str) -> None:
    assert api.ask("GET", f"{path}/canary").json == {"canary": None, "sides": []}


def test_stopping_everything_is_written_before_it_is_followed(api: FlaskApi, path: str) -> None:
    reply = api.ask("POST", f"{path}/stop", {})
    assert [one["stopped"] for one in reply.end["result"]["formation"]] == [True, True]
    assert [(event["verb"], event["detail"]) for event in api.ask("GET", "/v1/events").json["events"]][
        -1
    ] == (
        "formation.stop",
        {"types": ["web", "worker"]},
    )


def test_root_is_not_the_git_server(api: FlaskApi, name: str) -> None:
    assert api.ask("GET", f"/v1/git/{name}").status == 403
