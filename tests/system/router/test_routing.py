"""Routing settings on a running platform: every word of the CLI, and what visitors see of it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.platform import Answer, Platform, wait_for

from paas.cli.client import Client, part
from paas.cli.target import find_target

APP = "shop"
OTHER = "api"
PROGRAM = """\
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(2 if self.path == "/slow" else 0)
        body = f"{os.environ['PAAS_APP']} {os.environ['PAAS_PROCESS']} {self.path}".encode()
        self.send_response(500 if self.path == "/fails-on-" + os.environ["PAAS_PROCESS"] else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Echo).serve_forever()
"""


@pytest.fixture(scope="module", autouse=True)
def apps(platform: Platform) -> None:
    files = {"Procfile": "web: exec python3 -u server.py\n", "server.py": PROGRAM}
    platform.deploy(files, APP)
    platform.deploy(files, OTHER)


@pytest.fixture(autouse=True)
def clean(platform: Platform) -> Iterator[None]:
    """No setting of a test is left for the next one."""
    yield
    client = Client(find_target(platform.environ()))
    for app in (APP, OTHER):
        routing = client.get(f"/apps/{app}/routing")["routing"]
        for item in client.get(f"/apps/{app}/domains")["domains"]:
            client.delete(f"/apps/{app}/domains/{part(item['name'])}")
        layer = routing["app"]
        removed = {
            "unset": list(layer["settings"]),
            "auth": {"remove": layer["users"]},
            "pages": {"remove": layer["pages"]},
        }
        if any(layer.values()):
            client.patch(f"/apps/{app}/routing", removed)


def ask(
    platform: Platform, host: str = f"{APP}.localhost", path: str = "/", *, body: bytes = b"", **headers: str
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", platform.http, timeout=30)
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST" if body else "GET", path, body or None, {"Host": host, **named})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def test_maintenance_is_a_switch_that_makes_no_release(platform: Platform) -> None:
    releases = platform.json("releases", "-a", APP)
    instances = [item["id"] for item in platform.json("ps", "-a", APP)]
    done = platform.paas("maintenance:on", "-a", APP)
    assert done.stderr == f"Enabling maintenance mode for {APP}... done\n" and done.stdout == ""
    answer = ask(platform)
    assert answer.status == 503 and "H80" in answer.text and answer.headers["retry-after"]
    assert platform.paas("maintenance", "-a", APP).stdout == "on\n"
    assert platform.json("maintenance", "-a", APP) == {"maintenance": True}
    assert platform.paas("maintenance:on", "-a", APP).stderr.endswith("done\n")  # again, nothing changes
    platform.paas("maintenance:off", "-a", APP)
    assert ask(platform).status == 200
    assert platform.paas("maintenance", "-a", APP).stdout == "off\n"
    assert platform.json("releases", "-a", APP) == releases
    assert [item["id"] for item in platform.json("ps", "-a", APP)] == instances
    lines = platform.paas("logs", "-a", APP, "-s", "api", "-n", "50").stdout
    assert lines.count("Set maintenance=on by root") == 1
    assert "Unset maintenance by root" in lines


def test_pause_holds_requests_until_resume(platform: Platform) -> None:
    note = platform.paas("pause", "--for", "25s", "-a", APP).stderr
    assert "wait up to 25s" in note and "H11" in note
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(platform))) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert not answers
    assert ask(platform, f"{OTHER}.localhost").status == 200
    platform.paas("resume", "-a", APP)
    for thread in threads:
        thread.join(20)
    assert [answer.status for answer in answers] == [200] * 8


def test_who_waits_too_long_in_a_pause_gets_h11(platform: Platform) -> None:
    platform.paas("pause", "--for", "1s", "-a", APP)
    answer = ask(platform)
    assert answer.status == 503 and "H11" in answer.text


def test_basic_auth_asks_for_a_password_that_is_kept_nowhere(platform: Platform) -> None:
    secret = "correct horse staple"
    platform.paas("auth:add", "ann", "-a", APP, input=f"{secret}\n")
    refused = ask(platform)
    assert refused.status == 401 and refused.headers["www-authenticate"].startswith("Basic")
    assert ask(platform, **basic("ann", "wrong")).status == 401
    assert ask(platform, **basic("ann", secret)).status == 200
    assert platform.paas("auth", "-a", APP).stdout == f"=== {APP} Users\nann\n"
    files = [path for path in platform.home.rglob("*") if path.is_file()]
    kept = [
        path
        for path in [*files, *platform.run_folder.rglob("*.json")]
        if secret.encode() in path.read_bytes()
    ]
    assert kept == []
    assert platform.over_ssh("auth:add", "eve", "-a", APP, input="over ssh\n").returncode == 0
    assert ask(platform, **basic("eve", "over ssh")).status == 200
    platform.paas("auth:remove", "eve", "-a", APP)
    unknown = platform.paas("auth:remove", "bob", "-a", APP, check=False)
    assert unknown.returncode == 1 and "There is no user bob" in unknown.stderr
    done = platform.paas("auth:remove", "ann", "-a", APP)
    assert "everybody may ask" in done.stderr
    assert ask(platform).status == 200


def test_only_allowed_networks_get_in(platform: Platform) -> None:
    platform.paas("allow:add", "10.0.0.0/8", "192.0.2.7", "-a", APP)
    assert ask(platform).status == 403
    platform.paas("allow:add", "127.0.0.1", "-a", APP)
    assert ask(platform).status == 200
    assert platform.json("allow", "-a", APP) == ["10.0.0.0/8", "192.0.2.7/32", "127.0.0.1/32"]
    platform.paas("allow:remove", "127.0.0.1", "-a", APP)
    assert ask(platform).status == 403
    bad = platform.paas("allow:add", "300.1.2.3", "-a", APP, check=False)
    assert bad.returncode == 1 and "'300.1.2.3' is not an address or a network" in bad.stderr


def test_settings_hold_and_are_shown_as_they_can_be_typed(platform: Platform) -> None:
    done = platform.paas("router:set", "body-limit=1K", "max-requests=64", "-a", APP)
    assert done.stdout == "body-limit:   1K\nmax-requests: 64\n"
    assert ask(platform, body=b"x" * 1024).status == 200
    assert ask(platform, body=b"x" * 1025).status == 413
    shown = platform.paas("router:settings", "-a", APP).stdout
    assert "body-limit:         1K\n" in shown and "first-byte-timeout: 30s (default)\n" in shown
    wrong = platform.paas("router:set", "body-limit=lots", "-a", APP, check=False)
    assert wrong.returncode == 1 and "body-limit: 'lots' is not a size" in wrong.stderr
    unknown = platform.paas("router:set", "body-limits=1K", "-a", APP, check=False)
    assert unknown.returncode == 1 and "Did you mean body-limit?" in unknown.stderr
    platform.paas("router:unset", "body-limit", "-a", APP)
    assert ask(platform, body=b"x" * 1025).status == 200
    over_ssh = platform.over_ssh("router:set", "body-limit=512", "-a", APP)
    assert over_ssh.returncode == 0 and over_ssh.stdout == "body-limit: 512\n"
    assert ask(platform, body=b"x" * 513).status == 413


def test_slow_answers_and_crowds_are_bounded(platform: Platform) -> None:
    platform.paas("router:set", "first-byte-timeout=1s", "-a", APP)
    late = ask(platform, path="/slow")
    assert late.status == 503 and "H12" in late.text
    platform.paas("router:unset", "first-byte-timeout", "-a", APP)
    platform.paas("router:set", "max-requests=2", "queue=0", "-a", APP)  # one in each worker
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(platform, path="/slow"), range(12)))
    assert {answer.status for answer in answers} == {200, 503}
    assert sum(answer.status == 200 for answer in answers) <= 2
    assert all("H11" in answer.text for answer in answers if answer.status == 503)


def test_a_domain_may_differ_from_its_app(platform: Platform) -> None:
    platform.paas("domains:add", "www.shop.test", "-a", APP)
    platform.paas("router:set", "body-limit=10", "-a", APP)
    platform.paas("router:set", "body-limit=none", "--domain", "www.shop.test", "-a", APP)
    assert ask(platform, body=b"x" * 20).status == 413
    assert ask(platform, "www.shop.test", body=b"x" * 20).status == 200
    whole = platform.paas("router:set", "max-requests=1", "--domain", "www.shop.test", "-a", APP, check=False)
    assert whole.returncode == 1 and "max-requests is for the whole app" in whole.stderr
    strange = platform.paas("router:set", "compress=on", "--domain", "www.else.test", "-a", APP, check=False)
    assert strange.returncode == 1 and "no domain www.else.test" in strange.stderr
    platform.paas("domains:remove", "www.shop.test", "-a", APP)
    platform.paas("domains:add", "www.shop.test", "-a", APP)
    assert ask(platform, "www.shop.test", body=b"x" * 20).status == 413  # the old one left nothing


def test_other_hosts_are_redirected_to_the_canonical_one(platform: Platform) -> None:
    refused = platform.paas("router:set", "canonical-host=www.shop.test", "-a", APP, check=False)
    assert refused.returncode == 1 and "does not lead to" in refused.stderr
    platform.paas("domains:add", "www.shop.test", "-a", APP)
    platform.paas("router:set", "canonical-host=www.shop.test", "-a", APP)
    moved = ask(platform, f"{APP}.localhost:{platform.http}", "/a?b=1")
    assert moved.status == 301
    assert moved.headers["location"] == f"http://www.shop.test:{platform.http}/a?b=1"
    assert ask(platform, "www.shop.test").status == 200
    platform.paas("domains:remove", "www.shop.test", "-a", APP)
    assert ask(platform).status == 200  # no redirect to a host that leads nowhere


def test_a_client_stays_at_its_instance(platform: Platform) -> None:
    platform.paas("scale", "web=3", "-a", APP)
    platform.paas("router:set", "sticky=on", "-a", APP)
    first = ask(platform)
    cookie = first.headers["set-cookie"].partition(";")[0]
    assert {ask(platform, Cookie=cookie).text for _ in range(12)} == {first.text}
    assert len({ask(platform).text for _ in range(40)}) > 1
    assert "sticky:             on\n" in platform.paas("router:settings", "-a", APP).stdout
    platform.paas("scale", "web=1", "-a", APP)


def test_error_pages_of_the_apps_own(platform: Platform, tmp_path: Path) -> None:
    page = tmp_path / "maintenance.html"
    page.write_text("<h1>Back at noon · ε</h1>")
    platform.paas("maintenance:on", "-a", APP)
    platform.paas("errors:set", "503", str(page), "-a", APP)
    answer = ask(platform)
    assert (answer.status, answer.text) == (503, "<h1>Back at noon · ε</h1>")
    assert "html" in answer.headers["content-type"]
    platform.paas("errors:set", "H80", "-", "-a", APP, input="<p>H80 counts first")
    assert ask(platform).text == "<p>H80 counts first"
    assert platform.paas("errors", "-a", APP).stdout == f"=== {APP} Error Pages\n503\nH80\n"
    platform.paas("errors:unset", "H80", "503", "-a", APP)
    assert "H80" in ask(platform).text
    for code, file in (("200", str(page)), ("503", "/nowhere"), ("503", "/dev/null")):
        assert platform.paas("errors:set", code, file, "-a", APP, check=False).returncode == 1


def test_plain_requests_are_sent_to_https_which_browsers_are_told_to_keep_to(platform: Platform) -> None:
    platform.paas("certs:generate", f"{APP}.localhost", "-a", APP)
    platform.paas("router:set", "https-redirect=on", "hsts=5m", "-a", APP)
    moved = ask(platform, f"{APP}.localhost:{platform.http}", "/a?b=1")
    assert moved.status == 301
    assert moved.headers["location"] == f"https://{APP}.localhost:{platform.https}/a?b=1"
    assert "strict-transport-security" not in moved.headers
    command = ["curl", "-sSkD", "-", "-o", "/dev/null", moved.headers["location"]]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.lower()
    assert " 200" in head.splitlines()[0]
    assert "strict-transport-security: max-age=300" in head.splitlines()


def test_answers_are_compressed_only_where_that_is_wanted(platform: Platform) -> None:
    path = "/" + "a" * 4000
    assert "content-encoding" not in ask(platform, path=path, Accept_Encoding="gzip").headers
    platform.paas("router:set", "compress=on", "-a", APP)
    packed = ask(platform, path=path, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == ask(platform, path=path).body


def test_an_instance_that_fails_its_health_check_gets_no_requests(platform: Platform) -> None:
    platform.paas("scale", "web=2", "-a", APP)

    def answering() -> set[str]:
        return {ask(platform).text.split()[1] for _ in range(12)}

    wait_for(lambda: answering() == {"web.1", "web.2"})
    platform.paas(
        "router:set", "health-path=/fails-on-web.2", "health-interval=1s", "health-fails=1", "-a", APP
    )
    wait_for(lambda: answering() == {"web.1"})
    platform.paas("router:unset", "health-path", "-a", APP)
    wait_for(lambda: answering() == {"web.1", "web.2"})
    platform.paas("scale", "web=1", "-a", APP)


def test_a_wildcard_leads_every_host_below_it_to_the_app(platform: Platform) -> None:
    platform.paas("domains:add", "*.shop.test", "-a", APP)
    assert ask(platform, "any.thing.shop.test").text.startswith(f"{APP} ")
    platform.paas("domains:add", "api.shop.test", "-a", OTHER)
    assert ask(platform, "api.shop.test").text.startswith(f"{OTHER} ")
    platform.paas("domains:remove", "*.shop.test", "-a", APP)
    assert ask(platform, "any.thing.shop.test").status == 404


def test_apps_share_a_host_by_path(platform: Platform) -> None:
    platform.paas("domains:add", "shared.test", "-a", APP)
    platform.paas("domains:add", "Shared.test/api/", "-a", OTHER)
    assert platform.paas("domains", "-a", OTHER).stdout.endswith("\nshared.test/api\n")
    assert ask(platform, "shared.test", "/apis").text == f"{APP} web.1 /apis"
    assert ask(platform, "shared.test", "/api/x?y").text == f"{OTHER} web.1 /api/x?y"
    platform.paas("router:set", "body-limit=5", "--domain", "shared.test/api", "-a", OTHER)
    assert ask(platform, "shared.test", "/api", body=b"x" * 6).status == 413
    assert ask(platform, "shared.test", "/", body=b"x" * 6).status == 200
    platform.paas("domains:remove", "shared.test/api", "-a", OTHER)
    assert ask(platform, "shared.test", "/api").text.startswith(f"{APP} ")


def test_a_restarted_control_plane_and_router_keep_the_settings(platform: Platform) -> None:
    platform.paas("maintenance:on", "-a", APP)
    workers = [platform.running_pid(name) for name in ("router.1", "router.2", "converge")]
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not set(workers) & {d["pid"] for d in platform.status()["daemons"]})

    def answered() -> bool:
        with contextlib.suppress(OSError):
            return ask(platform).status == 503
        return False

    wait_for(answered)
    platform.paas("maintenance:off", "-a", APP)
    wait_for(lambda: ask(platform).status == 200)


def test_a_renamed_app_takes_its_settings_with_it_and_a_destroyed_one_leaves_none(platform: Platform) -> None:
    platform.paas("create", "old", "--no-remote")
    platform.paas("router:set", "body-limit=7", "canonical-host=old.localhost", "-a", "old")
    platform.paas("router:set", "compress=on", "--domain", "old.localhost", "-a", "old")
    platform.paas("apps:rename", "new", "-a", "old")
    routing = json.loads(platform.paas("router:settings", "-a", "new", "--json").stdout)
    assert routing["app"]["settings"] == {"body-limit": "7", "canonical-host": "new.localhost"}
    assert routing["domains"]["new.localhost"]["settings"] == {"compress": "on"}
    platform.paas("apps:destroy", "-a", "new", "--confirm", "new")
    platform.paas("create", "new", "--no-remote")
    empty = {"settings": {}, "users": [], "pages": []}
    assert json.loads(platform.paas("router:settings", "-a", "new", "--json").stdout) == {
        "app": empty,
        "domains": {},
    }
