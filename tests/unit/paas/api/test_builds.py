"""Settings of builds, and who reads them."""

from __future__ import annotations

from harness.flask_api import FlaskApi
from harness.rows import deployed

from paas.release.pipeline import rebuild_request
from paas.store import apps, builds


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


def test_only_what_serves_and_whose_build_is_known_can_be_built_again(api: FlaskApi, name: str) -> None:
    path = f"/v1/apps/{name}/builds"
    never = api.ask("POST", path, {"deploy": True})
    assert (never.status, "serves nothing" in never.json["error"]["message"]) == (404, True)
    deployed(api, name, web="run")
    forgotten = api.ask("POST", path, {"deploy": False})
    assert (forgotten.status, "v1 is no longer kept" in forgotten.json["error"]["message"]) == (404, True)


def test_a_rebuild_asks_for_the_tree_of_the_build_that_made_the_image(api: FlaskApi, name: str) -> None:
    deployed(api, name, web="run")
    with api.context.store.write() as tx:
        app = apps.by_name(tx, name)
        assert app is not None
        for tree in ("1" * 40, "2" * 40):
            build = builds.start(tx, app.id, commit="c" * 40, tree=tree, actor="ann", holder="h")
            builds.finish(tx, app.id, build.number, "succeeded", image_digest="sha256:1")
        request = rebuild_request(tx, app, "bob", deploy=False)
    assert (request.tree, request.again, request.deploy, request.actor) == ("2" * 40, 1, False, "bob")


def test_a_rebuild_keeps_where_the_source_came_from(api: FlaskApi, name: str) -> None:
    deployed(api, name, web="run")
    with api.context.store.write() as tx:
        app = apps.by_name(tx, name)
        assert app is not None
        build = builds.start(tx, app.id, commit="", tree="1" * 40, actor="ann", holder="h", origin="app.tgz")
        builds.finish(tx, app.id, build.number, "succeeded", image_digest="sha256:1")
        request = rebuild_request(tx, app, "bob", deploy=True)
    assert (request.source, request.commit) == ("app.tgz", "")
