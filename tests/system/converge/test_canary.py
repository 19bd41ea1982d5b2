"""A canary takes its share of the requests, and nobody who visits the app notices it come, change, crash or go."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from harness.platform import Platform, commit, git, wait_for
from harness.visitors import Visitors

SERVER = """
import http.server, os, sys
if os.environ['DYNO'].startswith('canary') and os.environ.get('CANARY') == 'dies':
    sys.exit('not in this mine')
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = os.environ.get('GREETING', 'plain').encode()
        status = 500 if self.path == '/broken' else 200
        self.wfile.write(b'HTTP/1.1 %d X\\r\\nContent-Length: %d\\r\\n\\r\\n%b' % (status, len(body), body))
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def app(platform: Platform) -> Path:
    """Release v1 says plain, v2 dies as a canary, v3 says new, v4 serves and says plain again."""
    repository = platform.deploy({"Procfile": "web: exec python3 server.py\n", "server.py": SERVER}, "mine")
    platform.paas("config:set", "CANARY=dies", "-a", "mine")
    platform.paas("config:set", "GREETING=new", "CANARY=lives", "-a", "mine")
    platform.paas("rollback", "v1", "-a", "mine")
    return repository


@pytest.fixture
def visitors(platform: Platform, app: Path) -> Iterator[Visitors]:
    """Steady requests during the whole test, of which none may fail."""
    with Visitors(platform.http, f"mine.localhost:{platform.http}", rate=200) as visiting:
        yield visiting
        wait_for(lambda: visiting.tally.requests > 100)
    assert visiting.tally.failures == []


def heard(platform: Platform, count: int = 400) -> Counter[str]:
    return Counter(platform.get("mine").text for _ in range(count))


def names(platform: Platform) -> dict[str, str]:
    return {item["name"]: item["state"] for item in platform.json("ps", "-a", "mine")}


def shown(platform: Platform) -> Any:
    return platform.json("canary", "-a", "mine")


def kill(platform: Platform, runtime_id: str) -> None:
    """As the kernel would: every process inside at once, without a word."""
    inside = [
        pid
        for pid in platform.processes()
        if b"server.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and f"/{runtime_id}" in Path(f"/proc/{pid}/cgroup").read_text()
    ]
    assert inside
    for pid in inside:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_canary_gets_its_share_and_loses_nothing(platform: Platform, visitors: Visitors) -> None:
    done = platform.paas("canary", "v3", "--share", "50", "-a", "mine")
    assert "canary.1 up" in done.stderr and "v3 gets 50 % of the requests" in done.stderr
    assert 130 < heard(platform)["new"] < 270  # seven standard deviations around 200
    assert names(platform) == {"web.1": "up", "canary.1": "up"}
    assert platform.get("mine", "/broken").status == 500

    platform.paas("canary:share", "10", "-a", "mine")
    assert 5 < heard(platform)["new"] < 90
    serving, beside = shown(platform)["sides"]
    assert (serving["release"], serving["share"], beside["release"], beside["share"]) == (4, 90, 3, 10)
    assert beside["requests"] > 100 and serving["requests"] > 500
    assert serving["errors"] + beside["errors"] == 1
    table = platform.paas("canary", "-a", "mine").stdout
    assert "=== mine Canary v3 since" in table and "10 %  1 of 1 up" in table
    log = platform.paas("logs", "-p", "canary", "-n", "500", "-a", "mine").stdout
    assert "dyno=canary.1" in log and "paas[canary.1]: State changed from starting to up" in log

    kill(platform, beside["up"][0])
    assert wait_for(lambda: shown(platform)["sides"][1]["up"] not in ([], beside["up"]))
    assert "crash" in platform.paas("logs", "-p", "canary", "-n", "5000", "-a", "mine").stdout
    platform.paas("canary:share", "100", "-a", "mine")
    assert heard(platform, 50) == {"new": 50}

    platform.paas("canary:stop", "-a", "mine")
    assert heard(platform, 50) == {"plain": 50}
    wait_for(lambda: names(platform) == {"web.1": "up"})


def test_a_promoted_canary_serves(platform: Platform, visitors: Visitors) -> None:
    platform.paas("canary", "v3", "--count", "2", "-a", "mine")
    done = platform.paas("canary:promote", "-a", "mine")
    assert "done, v5 (from v3)" in done.stderr
    assert heard(platform, 50) == {"new": 50}
    assert shown(platform) == {"canary": None, "sides": []}
    assert platform.json("releases", "-a", "mine")[0]["description"] == "Promote canary v3"
    wait_for(lambda: names(platform) == {"web.1": "up"})


def test_a_canary_that_does_not_come_up_gets_no_request(platform: Platform, visitors: Visitors) -> None:
    done = platform.paas("canary", "v2", "-a", "mine", check=False)
    assert done.returncode == 1
    assert "canary.1 exited with status 1" in done.stderr and "not in this mine" in done.stderr
    assert "The canary v2 is stopped" in done.stderr
    assert shown(platform)["canary"] is None
    wait_for(lambda: names(platform) == {"web.1": "up"})


def test_a_deployment_ends_the_canary_and_one_that_fails_does_not(
    platform: Platform, visitors: Visitors
) -> None:
    platform.paas("canary", "v4", "--share", "50", "-a", "mine")
    failed = platform.push(platform.repository({"Procfile": "web: exit 3\n"}), "mine", "+main")
    assert failed.returncode != 0 and "ends the canary" not in failed.stdout
    assert 15 < heard(platform, 100)["plain"] < 85
    done = platform.paas("config:set", "NEXT=1", "-a", "mine")
    assert "ends the canary v4" in done.stderr
    assert "Canary v4 ended" in platform.paas("logs", "-s", "paas", "-n", "100", "-a", "mine").stdout
    assert heard(platform, 50) == {"new": 50}
    assert shown(platform)["canary"] is None
    wait_for(lambda: names(platform) == {"web.1": "up"})


def test_a_canary_lives_on_when_daemons_die(platform: Platform, visitors: Visitors) -> None:
    command = threading.Thread(target=platform.paas, args=("canary", "v4", "--share", "50", "-a", "mine"))
    command.start()
    wait_for(lambda: "canary.1" in names(platform))
    os.kill(platform.running_pid("converge"), signal.SIGKILL)
    command.join(60)
    before = wait_for(lambda: shown(platform)["sides"][1]["up"])
    for daemon in ("converge", "spawner"):
        old = platform.running_pid(daemon)
        os.kill(old, signal.SIGKILL)
        wait_for(lambda daemon=daemon, old=old: platform.pid_of(daemon) not in (0, old))
    wait_for(lambda: platform.paas("canary:share", "90", "-a", "mine").returncode == 0)
    assert 70 < heard(platform, 100)["plain"] <= 100
    assert shown(platform)["sides"][1]["up"] == before


def test_a_push_can_make_a_canary_first(platform: Platform, app: Path, visitors: Visitors) -> None:
    platform.paas("canary:stop", "-a", "mine")
    serving = git(app, "rev-parse", "HEAD")
    pushed = commit(app, "Say fresh", **{"server.py": SERVER.replace("'plain'", "'fresh'")})
    platform.paas("config:unset", "GREETING", "-a", "mine")
    done = platform.push(app, "mine", "main", "-o", "canary=50")
    assert done.returncode == 0 and "canary.1 up" in done.stdout, done.stdout
    number = shown(platform)["canary"]["release"]
    assert 60 < heard(platform, 200)["fresh"] < 140
    assert _branch(platform) == serving
    refused = platform.push(app, "mine", "main", "-o", "canary")
    assert refused.returncode != 0 and f"v{number} is the canary of mine already" in refused.stdout
    done_too = platform.paas("canary:promote", "-a", "mine")
    assert f"done, v{number}" in done_too.stderr
    assert heard(platform, 50) == {"fresh": 50}
    assert _branch(platform) == pushed
    again = platform.push(app, "mine", "main", "-o", "canary=50")
    assert "Everything up-to-date" in again.stdout


def _branch(platform: Platform) -> str:
    """The commit of the deploy branch, as git sees it."""
    url = f"ssh://paas@127.0.0.1:{platform.ssh}/mine"
    done = subprocess.run(
        ["git", "ls-remote", url, "main"], env=platform.environ(), capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0]


def test_a_pushed_canary_that_does_not_come_up_changes_nothing(
    platform: Platform, visitors: Visitors
) -> None:
    before = platform.json("releases", "-a", "mine")[0]
    broken = platform.repository({"Procfile": "web: exit 7\nrelease: touch migrated\n"})
    done = platform.push(broken, "mine", "+main", "-o", "canary")
    assert done.returncode != 0 and "canary.1 exited with status 7" in done.stdout
    assert "The release command runs when the canary is promoted" in done.stdout
    assert shown(platform)["canary"] is None
    newest, serving = platform.json("releases", "-a", "mine")[:2]
    assert newest["state"] == "cancelled" and serving == before and serving["current"]
    wait_for(lambda: names(platform) == {"web.1": "up"})


def test_a_canary_rests_while_web_is_scaled_to_nothing(platform: Platform, app: Path) -> None:
    platform.paas("canary", "v4", "--share", "90", "-a", "mine")
    platform.paas("scale", "web=0", "-a", "mine")
    wait_for(lambda: names(platform) == {"canary.1": "stopped"})
    assert platform.get("mine").status == 503
    platform.paas("scale", "web=1", "-a", "mine")
    wait_for(lambda: names(platform) == {"web.1": "up", "canary.1": "up"})
