"""Config vars through the api, before anything has been deployed."""

from __future__ import annotations

import json

from harness.flask_api import FlaskApi


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
