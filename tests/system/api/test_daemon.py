"""The api over real sockets: runs and attaching to them, following logs, and the daemon itself."""

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
from pathlib import Path

from harness.api import Api, As
from harness.platform import wait_for
from harness.rows import app_of, deployed

from paas import logs
from paas.store import instances, people
from runtime import frames

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
    process = api.spawner.verbs("create")[-1]["box"]["process"]
    assert process["terminal"] == {"rows": 30, "columns": 100}
    assert (process["env"]["TERM"], process["env"]["X"], process["attach"]) == ("xterm", "1", True)
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
    app_id = deployed(api, name, web="run")
    made = api.ask("POST", f"/v1/apps/{name}/runs", {"command": ["sleep", "5"], "detach": True}).json
    assert made["name"] == "run.1"
    assert not api.spawner.verbs("create")[-1]["box"]["process"]["attach"]
    sock, head = attach(api, name, made["instance"])
    sock.close()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert api.ask("POST", f"/v1/apps/{name}/stop", {"name": made["name"]}).end["done"]
    with api.store.read() as tx:
        states = {row.runtime_id: row.state for row in instances.live_of(tx, app_id)}
    assert states[made["instance"]] == "stopping"  # by converge, which lets it finish its work


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
        assert people.user_named(tx, "zoe")
    assert api.ask("GET", "/v1/users", who=zoe).status == 200
