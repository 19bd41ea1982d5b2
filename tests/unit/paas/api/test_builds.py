"""Settings of builds, and who reads them."""

from __future__ import annotations

from harness.flask_api import FlaskApi


def test_settings_are_kept_and_told(api: FlaskApi, name: str) -> None:
    path = f"/v1/apps/{name}/builds/settings"
    assert api.ask("GET", path).json["settings"] == {}
    answer = api.ask("PATCH", path, {"root": "services/api", "procfile": "deploy/Procfile"})
    assert answer.json["settings"] == {"root": "services/api", "procfile": "deploy/Procfile"}
    api.ask("PATCH", path, {"procfile": ""})
    assert api.ask("GET", path).json["settings"] == {"root": "services/api"}
    assert "builds.set" in [event["verb"] for event in api.ask("GET", "/v1/events").json["events"]]


def test_a_setting_that_leaves_the_repository_changes_nothing(api: FlaskApi, name: str) -> None:
    path = f"/v1/apps/{name}/builds/settings"
    for body in ({"root": "../x"}, {"root": "ok", "procfile": "/etc/passwd"}, {"image": "x"}, {"root": 1}):
        assert api.ask("PATCH", path, body).status == 422
    assert api.ask("GET", path).json["settings"] == {}
