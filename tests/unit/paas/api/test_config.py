"""Config vars through the api: what a change becomes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.flask_api import FlaskApi
from harness.rows import app_of, deployed, loop_at_work


def test_config_before_the_first_push_is_kept_without_a_deployment(api: FlaskApi, name: str) -> None:
    odd = {"A": "one\ntwo", "B": "=", "C": "'\" $x", "D": "ü"}
    end = api.ask("PATCH", f"/v1/apps/{name}/config", {"set": odd}).end
    assert end["result"]["vars"] == odd
    assert end["result"]["release"]["version"] == "v1"
    end = api.ask("PATCH", f"/v1/apps/{name}/config", {"set": {"E": ""}, "unset": ["A"]}).end
    assert end["result"]["release"]["description"] == "Set E and Unset A config vars"
    vars = api.ask("GET", f"/v1/apps/{name}/config").json["vars"]
    assert vars == {"B": "=", "C": "'\" $x", "D": "ü", "E": ""}
    assert api.ask("GET", f"/v1/apps/{name}/config?release=v1").json["vars"] == odd
    lines = [line["line"] for line in api.ask("GET", f"/v1/apps/{name}/logs").lines]
    assert any(line.endswith(" paas[api]: Set A, B, C, D config vars by root") for line in lines)
    assert not any("one" in line for line in lines)


def test_what_an_older_platform_let_in_can_be_unset_and_not_set_again(api: FlaskApi, name: str) -> None:
    app_id = api.ask("GET", f"/v1/apps/{name}").json["id"]
    assert api.ask("PATCH", f"/v1/apps/{name}/config", {"set": {"KEPT": "1"}}).end["result"]
    older = {"HOME": "/elsewhere", "odd name": "x", "KEPT": "1"}
    with api.store.write() as tx:
        tx.execute("UPDATE config SET vars = ? WHERE app_id = ?", (json.dumps(older), app_id))
    again = api.ask("PATCH", f"/v1/apps/{name}/config", {"set": {"HOME": "/app"}})
    assert (again.status, again.json["error"]["message"]) == (422, "HOME is set by the platform.")
    end = api.ask("PATCH", f"/v1/apps/{name}/config", {"unset": ["HOME", "odd name"]}).end
    assert end["result"]["vars"] == {"KEPT": "1"}


def test_a_change_of_a_serving_app_is_deployed_line_by_line(api: FlaskApi, name: str) -> None:
    deployed(api, name, web="run")
    with loop_at_work(api):
        end = api.ask("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}).end
    release = end["result"]["release"]
    assert (release["version"], release["current"], end["result"]["vars"]) == ("v2", True, {"A": "1"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "No config var is named."),
        ({"set": {}, "unset": []}, "No config var is named."),
        ({"unset": ["NONE"]}, "NONE is not set."),
        ({"unset": ["NONE", "A", "OTHER"]}, "NONE, OTHER are not set."),
        ({"unset": ["a\u001b[2J"]}, "'a\\x1b[2J' is not set."),
        ({"set": {"A": "2"}, "unset": ["A"]}, "A is both set and unset."),
        ({"set": {"1A": "x"}}, "1A"),
        ({"set": {"PORT": "1"}}, "PORT is set by the platform."),
        ({"set": {"A": 5}}, "A"),
    ],
)
def test_what_makes_no_sense_is_refused_and_makes_no_release(
    api: FlaskApi, name: str, body: Any, message: str
) -> None:
    assert api.ask("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}).end["result"]
    reply = api.ask("PATCH", f"/v1/apps/{name}/config", body)
    assert reply.status == 422 and message in reply.error["message"], reply.body
    assert api.ask("GET", f"/v1/apps/{name}/config").json["vars"] == {"A": "1"}
    assert len(api.ask("GET", f"/v1/apps/{name}/releases").json["releases"]) == 1


def test_a_long_change_is_described_by_its_first_names(api: FlaskApi, name: str) -> None:
    many = {f"V{number}": "x" for number in range(7)}
    end = api.ask("PATCH", f"/v1/apps/{name}/config", {"set": many}).end
    assert end["result"]["release"]["description"] == "Set V0, V1, V2, V3 and 3 more config vars"


def test_values_that_are_no_longer_kept_are_said_to_be_gone(api: FlaskApi, name: str) -> None:
    for value in ("1", "2"):
        api.ask("PATCH", f"/v1/apps/{name}/config", {"set": {"A": value}})
    app_id = app_of(api, name).id
    with api.store.write() as tx:
        tx.execute("DELETE FROM config WHERE number = 1 AND app_id = ?", (app_id,))
    reply = api.ask("GET", f"/v1/apps/{name}/config?release=v1")
    assert (reply.status, reply.error["message"]) == (404, "The config vars of v1 are no longer kept.")
    assert api.ask("GET", f"/v1/apps/{name}/config?release=v2").json["vars"] == {"A": "2"}
