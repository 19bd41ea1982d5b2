"""The api over real sockets: apps, keys, tokens, config, releases, streams, runs and logs."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.api import Api, As
from harness.platform import wait_for

from paas import logs
from paas.model import Image
from paas.store import apps, deployments, images, instances, releases, users
from runtime import frames


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    running = Api().start()
    try:
        running.user("ann")
        yield running
        assert "Traceback" not in running.log.read_text()
    finally:
        running.close()


@pytest.fixture
def name(api: Api) -> str:
    """A new app's name."""
    made: str = api.ask("POST", "/v1/apps", {}).json["name"]
    return made


def app_of(api: Api, name: str) -> Any:
    with api.store.read() as tx:
        return apps.by_name(tx, name)


def deployed(api: Api, name: str, **processes: str) -> str:
    """Give the app a serving release, as converge would have; its id."""
    app = app_of(api, name)
    with api.store.write() as tx:
        image = Image(app.id, "sha256:1", ("sha256:" + "a" * 64,), {}, processes, {}, "debian-12", 5)
        images.add(tx, image)
        release = releases.create(
            tx, app.id, image_digest=image.digest, config_number=0, limits={}, description="Deploy 1234567",
            commit="1" * 40, actor="ann",
        )  # fmt: skip
        move(
            tx, deployments.create(tx, app.id, release_number=release.number, from_release=None, push=True).id
        )
    return str(app.id)


def move(tx: Any, id: int, *states: str) -> None:
    for state in states or ("starting", "switching", "draining", "succeeded"):
        deployments.advance(tx, id, state)


def converge(api: Api, app_id: str, *states: str, lines: tuple[str, ...] = ()) -> None:
    """Wait for the deployment that the api opens, and move it as the loop would."""

    def found() -> Any:
        with api.store.read() as tx:
            return deployments.unfinished_of(tx, app_id)

    deployment = wait_for(found)
    with api.store.write() as tx:
        for line in lines:
            deployments.add_line(tx, deployment.id, line)
        move(tx, deployment.id, *states)


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


def test_an_app_is_renamed_and_another_branch_deployed(api: Api, name: str) -> None:
    reply = api.ask("PATCH", f"/v1/apps/{name}", {"name": "renamed", "deploy_branch": "production"})
    assert (reply.json["name"], reply.json["deploy_branch"]) == ("renamed", "production")
    assert api.ask("GET", f"/v1/apps/{name}").status == 404
    assert api.ask("PATCH", "/v1/apps/renamed", {"name": name}).status == 200


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


def test_the_first_key_makes_the_administrator(tmp_path: Path) -> None:
    running = Api().start()
    try:
        first = running.ask("POST", "/v1/keys", {"public_key": public_key(tmp_path)[0]})
        assert (first.json["user"], first.json["role"]) == ("admin", "admin")
        second = running.ask("POST", "/v1/keys", {"public_key": public_key(tmp_path)[0], "user": "bob"})
        assert (second.json["user"], second.json["role"]) == ("bob", "member")
        third = running.ask("POST", "/v1/keys", {"public_key": public_key(tmp_path)[0]})
        assert third.json["user"] == "admin"
    finally:
        running.close()


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


def test_members_manage_their_own_keys_only(api: Api, tmp_path: Path) -> None:
    eve, line = api.user("eve"), public_key(tmp_path)[0]
    assert api.ask("POST", "/v1/keys", {"public_key": line, "user": "ann"}, eve).status == 403
    mine = api.ask("POST", "/v1/keys", {"public_key": line}, eve)
    assert mine.json["user"] == "eve"
    assert {key["user"] for key in api.ask("GET", "/v1/keys", who=eve).json["keys"]} == {"eve"}
    ann = api.ask("POST", "/v1/keys", {"public_key": public_key(tmp_path)[0], "user": "ann"}).json
    assert api.ask("DELETE", f"/v1/keys/{ann['fingerprint']}", who=eve).status == 404


# config, scale, streams


def test_config_before_the_first_push_is_kept_without_a_deployment(api: Api, name: str) -> None:
    odd = {"A": "one\ntwo", "B": "=", "C": "'\" $x", "D": "ü"}
    end = api.ask("PATCH", f"/v1/apps/{name}/config", {"set": odd}).end
    assert end["result"]["vars"] == odd
    assert end["result"]["release"]["version"] == "v1"
    end = api.ask("PATCH", f"/v1/apps/{name}/config", {"set": {"E": ""}, "unset": ["A"]}).end
    assert end["result"]["release"]["description"] == "Set E and Unset A config vars"
    vars = api.ask("GET", f"/v1/apps/{name}/config").json["vars"]
    assert vars == {"B": "=", "C": "'\" $x", "D": "ü", "E": ""}
    assert api.ask("GET", f"/v1/apps/{name}/config?release=v1").json["vars"] == odd
    lines = log_of(api, name)
    assert any(line.endswith(" paas[api]: Set A, B, C, D config vars by root") for line in lines)
    assert not any("one" in line for line in lines)


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


def test_domains_belong_to_one_app(api: Api, name: str) -> None:
    assert (
        api.ask("POST", f"/v1/apps/{name}/domains", {"name": "WWW.Example.com"}).json["name"]
        == "www.example.com"
    )
    other = api.ask("POST", "/v1/apps", {}).json["name"]
    assert api.ask("POST", f"/v1/apps/{other}/domains", {"name": "www.example.com"}).status == 409
    assert api.ask("DELETE", f"/v1/apps/{other}/domains/www.example.com").status == 404
    assert [d["name"] for d in api.ask("GET", f"/v1/apps/{name}/domains").json["domains"]] == [
        "www.example.com"
    ]
    assert api.ask("DELETE", f"/v1/apps/{name}/domains/www.example.com").status == 200


# git


def test_the_git_server_learns_what_is_live(api: Api, name: str) -> None:
    deployed(api, name, web="run")
    git = As(uid=api.git_uid, user="ann")
    told = api.ask("GET", f"/v1/git/{name}", who=git).json
    assert (told["live_commit"], told["branches"], told["may_push"]) == ("1" * 40, ["main", "master"], True)
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
    body = {
        "commit": "1" * 40,
        "tree": "2" * 40,
        "branch": "main",
        "subject": "x",
        "author": "Ann",
        "files": 3,
    }
    end = api.ask("POST", f"/v1/apps/{name}/pushes", body, git).end
    assert end["done"] and end["error"]["message"].endswith(".")
    shown = api.ask("GET", f"/v1/apps/{name}/builds").json["builds"]
    assert (shown[0]["status"], shown[0]["actor"]) == ("failed", "ann")
    assert api.ask("GET", f"/v1/apps/{name}/builds/1/output").status == 200
    assert api.ask("POST", f"/v1/apps/{name}/pushes", {**body, "tree": "../x"}, git).status == 422


# runs


def attach(api: Api, name: str, runtime_id: str) -> tuple[socket.socket, bytes]:
    """Upgrade a connection; the socket and the head of the answer."""
    sock = api.connect(As())
    sock.sendall(
        f"GET /v1/apps/{name}/runs/{runtime_id}/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: paas-attach\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock, head


def test_a_run_is_attached_and_relayed_both_ways(api: Api, name: str) -> None:
    deployed(api, name, web="run")
    terminal = {"rows": 30, "columns": 100, "term": "xterm"}
    made = api.ask(
        "POST", f"/v1/apps/{name}/runs", {"command": ["bash"], "terminal": terminal, "env": {"X": "1"}}
    )
    assert made.status == 201
    spec = api.spawner.verbs("create")[-1]["spec"]
    assert spec["terminal"] == {"rows": 30, "columns": 100}
    assert (spec["env"]["TERM"], spec["env"]["X"], spec["attach"]) == ("xterm", "1", True)
    sock, head = attach(api, name, made.json["instance"])
    with sock:
        assert head.startswith(b"HTTP/1.1 101 ")
        big = os.urandom(300_000)
        for start in range(0, len(big), 60_000):
            sock.sendall(frames.encode_frame(frames.STDIN, big[start : start + 60_000]))
        sock.sendall(frames.encode_frame(frames.STDIN))
        decoder, seen = frames.FrameDecoder(), []
        while data := sock.recv(65536):
            seen += decoder.feed(data)
    assert b"".join(payload for channel, payload in seen if channel == frames.STDOUT) == big
    assert seen[-1] == (frames.EXIT, b'{"status": 7}')


def test_hanging_up_reaches_the_process(api: Api, name: str) -> None:
    deployed(api, name, web="run")
    made = api.ask("POST", f"/v1/apps/{name}/runs", {"command": ["bash"]}).json
    sock, _ = attach(api, name, made["instance"])
    before = len(api.spawner.verbs("client hung up"))
    sock.close()
    wait_for(lambda: len(api.spawner.verbs("client hung up")) > before)


def test_attaching_needs_the_upgrade_and_the_right_app(api: Api, name: str) -> None:
    deployed(api, name, web="run")
    made = api.ask("POST", f"/v1/apps/{name}/runs", {"command": ["bash"]}).json
    assert api.ask("GET", f"/v1/apps/{name}/runs/{made['instance']}/attach").status == 422
    other = api.ask("POST", "/v1/apps", {}).json["name"]
    sock, head = attach(api, other, made["instance"])
    sock.close()
    assert head.startswith(b"HTTP/1.1 404 ")


def test_a_detached_run_has_no_socket_and_is_named_by_its_number(api: Api, name: str) -> None:
    deployed(api, name, web="run")
    made = api.ask("POST", f"/v1/apps/{name}/runs", {"command": ["sleep", "5"], "detach": True}).json
    assert made["name"] == "run." + made["instance"][1:]
    assert not api.spawner.verbs("create")[-1]["spec"]["attach"]
    sock, head = attach(api, name, made["instance"])
    sock.close()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert api.ask("POST", f"/v1/apps/{name}/stop", {"name": made["name"]}).end["done"]
    assert api.spawner.verbs("kill")[-1]["id"] == made["instance"]


def test_a_run_that_cannot_start_ends_its_row(api: Api, name: str) -> None:
    app_id = deployed(api, name, web="run")
    api.spawner.refuse = {"code": "unavailable", "message": "no room", "hint": "later"}
    try:
        reply = api.ask("POST", f"/v1/apps/{name}/runs", {"command": ["ls"]})
    finally:
        api.spawner.refuse = None
    assert (reply.status, reply.error["message"]) == (503, "no room")
    with api.store.read() as tx:
        assert instances.live_of(tx, app_id) == []


# logs


def test_logs_are_followed_as_they_come(api: Api, name: str) -> None:
    app = app_of(api, name)
    folder = api.layout.logs / app.id
    assert folder.is_dir()
    (folder / "i1.0.log").write_bytes(b"2026-01-01T00:00:00.000000+00:00 app[web.1]: first\n")
    with api.streaming("GET", f"/v1/apps/{name}/logs?follow=1&type=web") as stream:
        assert json.loads(stream.readline())["line"].endswith("first")
        with (folder / "i1.0.log").open("ab") as file:
            file.write(f"{logs.stamp(time.time())} app[web.1]: sec".encode())
            file.flush()
            time.sleep(0.3)
            file.write(b"ond\n")
        (folder / "i2.0.log").write_bytes(f"{logs.stamp(time.time())} app[web.2]: third\n".encode())
        texts = []
        while len(texts) < 2:
            message = json.loads(stream.readline())
            texts += [message["line"].partition(": ")[2]] if "line" in message else []
    assert texts == ["second", "third"]


def test_followers_that_hang_up_make_room(api: Api, name: str) -> None:
    for _ in range(40):
        wait_for(lambda: _followed(api, name))


def _followed(api: Api, name: str) -> bool:
    try:
        with api.streaming("GET", f"/v1/apps/{name}/logs?follow=1"):
            return True
    except AssertionError:
        return False


# the daemon


def test_it_is_one_small_process_of_its_own_user(api: Api) -> None:
    status = Path(f"/proc/{api.process.pid}/status").read_text()
    assert re.search(r"^Uid:\s+" + str(pwd.getpwnam("paas").pw_uid), status, re.MULTILINE)
    assert (
        subprocess.run(["pgrep", "-P", str(api.process.pid)], capture_output=True, check=False).stdout == b""
    )


def test_the_database_is_made_for_the_group_only(api: Api) -> None:
    assert {oct(path.stat().st_mode & 0o777) for path in api.layout.database.parent.iterdir()} == {"0o660"}


def test_everybody_may_connect_but_peers_are_known(api: Api) -> None:
    assert api.layout.api_socket.stat().st_mode & 0o777 == 0o666
    with api.connect(As()) as sock:
        assert (
            struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            == pwd.getpwnam("paas").pw_uid
        )


def test_it_comes_back_after_a_kill_with_everything_it_knew(tmp_path: Path) -> None:
    running = Api().start()
    try:
        running.ask("POST", "/v1/apps", {"name": "hello"})
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        running.restart()
        assert [app["name"] for app in running.ask("GET", "/v1/apps").json["apps"]] == ["hello"]
    finally:
        running.close()


def test_it_ends_with_sigterm_although_somebody_follows(tmp_path: Path) -> None:
    running = Api().start()
    try:
        running.ask("POST", "/v1/apps", {"name": "hello"})
        with running.streaming("GET", "/v1/apps/hello/logs?follow=1"):
            running.process.terminate()
            assert running.process.wait(20) == 0
    finally:
        running.close()


def test_users_are_read_from_the_store_at_every_request(api: Api) -> None:
    zoe = api.user("zoe")
    assert api.ask("GET", "/v1/users", who=zoe).status == 403
    with api.store.write() as tx:
        tx.execute("UPDATE user SET role = 'admin' WHERE name = 'zoe'")
        assert users.by_name(tx, "zoe")
    assert api.ask("GET", "/v1/users", who=zoe).status == 200
