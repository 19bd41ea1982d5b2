"""The api over real sockets: apps, keys, config, scale, releases, domains, what the git server asks."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.api import Api, As
from harness.platform import wait_for
from harness.rows import app_of, converge, deployed

from paas.store import apps, deployments, instances


def events_of(api: Api, app_id: str) -> list[str]:
    every = api.ask("GET", "/v1/events").json["events"]
    return [event["verb"] for event in every if event["app_id"] == app_id]


def log_of(api: Api, name: str, query: str = "") -> list[str]:
    return [line["line"] for line in api.ask("GET", f"/v1/apps/{name}/logs{query}").lines]


# apps


def test_a_new_app_is_complete(api: Api) -> None:
    reply = api.ask("POST", "/v1/apps", {"name": "fresh"})
    assert reply.status == 201
    app = reply.json
    http, ssh = api.settings.http.port, api.settings.ssh.port
    assert (app["url"], app["git_url"]) == (
        f"http://fresh.localhost:{http}/",
        f"ssh://paas@127.0.0.1:{ssh}/fresh",
    )
    assert (app["release"], app["domains"], app["processes"], app["deploy_branch"]) == (None, [], [], "main")
    assert api.ask("GET", "/v1/apps/fresh").json == app
    assert {"verb": "app_create", "app_id": app["id"]} in api.spawner.calls
    assert events_of(api, app["id"]) == ["app.create"]


def test_destroying_frees_the_name_and_waits_for_the_loop(api: Api, name: str) -> None:
    app_id = app_of(api, name).id
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(api.ask, "DELETE", f"/v1/apps/{name}", {"confirm": name})
        wait_for(lambda: api.ask("GET", f"/v1/apps/{name}").status == 404)
        with api.store.write() as tx:
            assert apps.get(tx, app_id).destroying
            apps.delete(tx, app_id)
        assert done.result().json == {"name": name, "destroyed": True}


# users, keys, tokens


def public_key(folder: Path, *options: str) -> tuple[str, str]:
    """A new key's public line, and its fingerprint as ssh-keygen tells it."""
    path = folder / f"key{len(list(folder.iterdir()))}"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", path, *options], check=True)
    told = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True).stdout
    return path.with_suffix(".pub").read_text(), told.split()[1]


@pytest.mark.parametrize(
    "options", [("-t", "ed25519"), ("-t", "rsa", "-b", "2048"), ("-t", "ecdsa", "-b", "384")], ids=str
)
def test_keys_lead_the_git_server_to_users(api: Api, tmp_path: Path, options: tuple[str, ...]) -> None:
    line, fingerprint = public_key(tmp_path, *options, "-C", "ann@laptop")
    added = api.ask("POST", "/v1/keys", {"public_key": line, "user": "ann"})
    assert (added.status, added.json["fingerprint"], added.json["comment"]) == (
        201,
        fingerprint,
        "ann@laptop",
    )
    git = As(uid=api.git_uid)
    assert api.ask("GET", f"/v1/keys/{fingerprint}", who=git).json == {"user": "ann"}
    assert api.ask("POST", "/v1/keys", {"public_key": line, "user": "joe"}).status == 409
    assert api.ask("DELETE", f"/v1/keys/{fingerprint}").status == 200
    assert api.ask("GET", f"/v1/keys/{fingerprint}", who=git).status == 404


# config, scale, streams


def test_config_streams_the_deployment_and_ends_with_the_release(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    with api.streaming("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}) as stream:
        converge(api, app_id, lines=("-----> Release v2", "       web.1 up"))
        messages = [json.loads(line) for line in stream]
    texts = [message["line"] for message in messages if "line" in message]
    assert texts == ["-----> Release v2", "       web.1 up"]
    assert messages[-1]["result"]["release"]["current"]
    assert messages[-1]["result"]["vars"] == {"A": "1"}


def test_a_failed_deployment_ends_the_stream_with_its_error(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    with api.streaming("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}) as stream:
        converge(api, app_id, "failed")
        messages = [json.loads(line) for line in stream]
    assert messages[-1]["error"]["code"] == "deploy_failed"
    assert api.ask("GET", f"/v1/apps/{name}/config").json["vars"] == {}


def test_hanging_up_asks_for_the_deployment_to_be_cancelled(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    with api.streaming("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}):
        wait_for(lambda: _unfinished(api, app_id))
    wait_for(lambda: _unfinished(api, app_id).cancel_requested)
    converge(api, app_id, "cancelled")


def _unfinished(api: Api, app_id: str) -> Any:
    with api.store.read() as tx:
        return deployments.unfinished_of(tx, app_id)


def test_a_silent_stream_pings(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    with api.streaming("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}) as stream:
        assert json.loads(stream.readline()) == {"ping": True}
        assert json.loads(stream.readline()) == {"ping": True}
        converge(api, app_id)


def test_a_second_change_waits_for_the_first_and_says_for_whom(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    with api.streaming("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}) as first:
        wait_for(lambda: _unfinished(api, app_id))
        with api.streaming("PATCH", f"/v1/apps/{name}/config", {"set": {"B": "2"}}) as second:
            assert "root is deploying v2 (Set A config vars)" in json.loads(second.readline())["line"]
            converge(api, app_id)
            wait_for(lambda: (d := _unfinished(api, app_id)) and d.release_number == 3)
            converge(api, app_id)
            assert json.loads(list(second)[-1])["result"]["vars"] == {"A": "1", "B": "2"}
        assert json.loads(list(first)[-1])["result"]["release"]["version"] == "v2"


def test_scaling_streams_a_line_per_instance_and_answers_the_formation(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run", worker="work", release="migrate")
    with api.streaming(
        "PATCH", f"/v1/apps/{name}/formation", {"changes": {"web": {"quantity": 2}}}
    ) as stream:
        with api.store.write() as tx:
            made = [
                instances.create(tx, app_id, kind="process", type="web", number=number, release_number=1)
                for number in (1, 2)
            ]
        time.sleep(0.1)
        with api.store.write() as tx:
            for instance in made:
                instances.healthy(tx, instance.id)
        messages = [json.loads(line) for line in stream]
    texts = [message["line"] for message in messages if "line" in message]
    assert [text.split(" (")[0] for text in texts] == ["web.1 up", "web.2 up"]
    shown = {entry["type"]: entry["quantity"] for entry in messages[-1]["result"]["formation"]}
    assert shown == {"web": 2, "worker": 0}
    assert api.ask("PATCH", f"/v1/apps/{name}/formation", {"changes": {"web": {"delta": -3}}}).status == 422
    assert (
        api.ask("PATCH", f"/v1/apps/{name}/formation", {"changes": {"cron": {"quantity": 1}}}).status == 404
    )
    assert api.ask("POST", f"/v1/apps/{name}/stop", {"name": "web.1"}).status == 422


def test_instances_show_what_runs_and_what_does_not(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run", worker="work")
    with api.store.write() as tx:
        tx.execute(
            "INSERT INTO formation (app_id, type, quantity, stopped) VALUES (?1, 'web', 2, 0), (?1, 'worker', 1, 1)",
            (app_id,),
        )
        up = instances.create(tx, app_id, kind="process", type="web", number=1, release_number=1)
        instances.started(tx, up.id, address="10.1.0.2")
        instances.healthy(tx, up.id)
        dead = instances.create(tx, app_id, kind="process", type="web", number=2, release_number=1)
        instances.ended(tx, dead.id, cause="exited with status 1")
        instances.create(tx, app_id, kind="run", type="run", release_number=1, detail={"argv": ["ls", "-l"]})
    shown = api.ask("GET", f"/v1/apps/{name}/instances?stats=1").json["instances"]
    assert [(one["type"], one["state"], one["command"]) for one in shown] == [
        ("web", "up", "run"),
        ("web", "crashed", "run"),
        ("worker", "stopped", "work"),
        ("run", "starting", "ls -l"),
    ]
    assert shown[0]["stats"] == {"memory_bytes": 7}
    assert (shown[0]["address"], shown[0]["limits"]["memory_bytes"]) == ("10.1.0.2", 512 << 20)
    assert shown[1]["cause"] == "exited with status 1"


def test_limits_are_released_with_what_they_were(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    asked = {"web": {"memory_bytes": 256 << 20, "cpu_millis": 500}}
    with api.streaming("PATCH", f"/v1/apps/{name}/limits", asked) as stream:
        converge(api, app_id)
        end = json.loads(list(stream)[-1])
    assert end["result"]["release"]["description"] == "Set web limits memory=256M cpu=0.5"
    assert end["result"]["limits"] == {"web": {"memory_bytes": 256 << 20, "cpu_millis": 500, "pids": 256}}
    with api.streaming("PATCH", f"/v1/apps/{name}/limits", {"web": {"pids": 100}}) as stream:
        converge(api, app_id)
        end = json.loads(list(stream)[-1])
    assert end["result"]["limits"]["web"] == {"memory_bytes": 256 << 20, "cpu_millis": 500, "pids": 100}


def test_rollback_makes_a_new_release(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    with api.streaming("PATCH", f"/v1/apps/{name}/config", {"set": {"A": "1"}}) as stream:
        converge(api, app_id)
        list(stream)
    with api.streaming("POST", f"/v1/apps/{name}/rollback", {}) as stream:
        converge(api, app_id)
        end = json.loads(list(stream)[-1])
    assert (end["result"]["to"], end["result"]["release"]["version"]) == (1, "v3")
    assert api.ask("GET", f"/v1/apps/{name}/config").json["vars"] == {}
    shown = api.ask("GET", f"/v1/apps/{name}/releases").json
    assert [(r["version"], r["current"]) for r in shown["releases"]] == [
        ("v3", True),
        ("v2", False),
        ("v1", False),
    ]
    assert api.ask("GET", f"/v1/apps/{name}/releases/v2").json["config_names"] == ["A"]


# git


def test_the_git_server_learns_what_is_live(api: Api, name: str) -> None:
    deployed(api, name, web="run")
    git = As(uid=api.git_uid, user="ann")
    told = api.ask("GET", f"/v1/git/{name}", who=git).json
    assert (told["live_commit"], told["branches"]) == ("1" * 40, ["main", "master"])
    api.ask("PATCH", f"/v1/apps/{name}", {"deploy_branch": "production"})
    assert api.ask("GET", f"/v1/git/{name}", who=git).json["branches"] == ["production"]
    assert told["id"] in api.ask("GET", "/v1/git", who=As(uid=api.git_uid)).json["apps"]


def test_a_first_push_makes_the_app_its_pushers(api: Api) -> None:
    api.user("bob")
    bob, eve = As(uid=api.git_uid, user="bob"), As(uid=api.git_uid, user="eve")
    assert api.ask("GET", "/v1/git/pushed", who=bob).status == 404
    assert api.ask("POST", "/v1/git/pushed", {}, who=bob).status == 201
    assert api.ask("POST", "/v1/git/pushed", {}, who=bob).status == 200
    assert api.ask("GET", "/v1/apps/pushed").json["owner"] == "bob"
    api.user("eve")
    assert api.ask("POST", "/v1/git/pushed", {}, who=eve).status == 409
    assert api.ask("POST", "/v1/git/Bad_Name", {}, who=bob).status == 422


def test_a_push_without_its_source_fails_in_one_sentence(api: Api, name: str) -> None:
    git = As(uid=api.git_uid, user="ann")
    body = {"commit": "1" * 40, "tree": "2" * 40}
    end = api.ask("POST", f"/v1/apps/{name}/pushes", body, git).end
    assert end["done"] and end["error"]["message"].endswith(".")
    shown = api.ask("GET", f"/v1/apps/{name}/builds").json["builds"]
    assert (shown[0]["status"], shown[0]["actor"]) == ("failed", "ann")
    assert api.ask("GET", f"/v1/apps/{name}/builds/1/output").status == 200
    assert api.ask("POST", f"/v1/apps/{name}/pushes", {**body, "tree": "../x"}, git).status == 422
