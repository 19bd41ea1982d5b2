"""Nobody who visits an app notices that it is deployed, scaled, restarted, rolled back or reconfigured."""

from __future__ import annotations

import time

from harness.platform import Platform, commit
from harness.visitors import Visitors

STEADY_S = 15


def test_no_request_fails_while_the_app_is_changed_in_every_way(platform: Platform) -> None:
    repository = platform.deploy("examples/hello", "steady")
    platform.paas("scale", "web=2", "-a", "steady")
    began = time.monotonic()
    with Visitors(platform.http, f"steady.localhost:{platform.http}", rate=300) as visitors:
        time.sleep(1)
        commit(repository, "Second version", **{"notes.txt": "two"})
        done = platform.push(repository, "steady")
        assert done.returncode == 0, done.stdout
        platform.paas("scale", "web=4", "-a", "steady")
        platform.paas("config:set", "GREETING=Salut", "-a", "steady")
        platform.paas("scale", "web=1", "-a", "steady")
        platform.paas("ps:restart", "-a", "steady")
        platform.paas("rollback", "-a", "steady")
        platform.paas("config:set", "GREETING=Ciao", "-a", "steady")
        while time.monotonic() - began < STEADY_S:
            time.sleep(0.1)
    assert visitors.tally.failures == []
    assert visitors.tally.requests > 20 * STEADY_S, "enough to meet every change, on a busy machine too"


def test_an_upload_in_flight_ends_on_the_old_release_while_the_new_one_takes_over(platform: Platform) -> None:
    source = {
        "requirements.txt": "gunicorn\n",
        "Procfile": "web: gunicorn slow:app --threads 4\n",
        "slow.py": (
            "import os, time\n"
            "def app(environ, start_response):\n"
            "    if environ['PATH_INFO'] == '/slow':\n"
            "        time.sleep(4)\n"
            "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
            "    return [os.environ['PAAS_RELEASE'].encode()]\n"
        ),
    }
    platform.deploy(source, "slow")
    first = platform.get("slow").text
    with Visitors(
        platform.http, f"slow.localhost:{platform.http}", path="/slow", count=2, rate=100
    ) as visitors:
        time.sleep(0.5)
        platform.paas("config:set", "A=1", "-a", "slow")
    assert visitors.tally.failures == []
    assert first.encode() in visitors.tally.bodies
    assert platform.get("slow").text != first
