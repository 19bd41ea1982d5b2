"""A build whose builder dies: nothing of it stays, and the same push works again."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from harness.platform import Platform, commit, wait_for
from harness.pushes import SLOW, Push

from paas.converge.collect import CLOCK_S
from runtime.client import Spawner


def test_a_killed_api_ends_the_build_and_the_same_push_works_again(platform: Platform) -> None:
    app = "killed-api"
    platform.paas("create", app, "--no-remote", check=False)
    platform.paas("config:set", "NAP=60", "-a", app)
    push = Push(platform, app)
    push.wait_for_line("building")
    os.kill(platform.running_pid("api"), signal.SIGKILL)
    assert push.end() != 0
    assert "Traceback" not in "".join(push.lines)
    said = " ".join("".join(push.lines).replace("remote:  !", "").split())  # lines are folded anywhere
    assert "nothing was changed" in said
    wait_for(lambda: not list((platform.run_folder / "instances").iterdir()), 30)
    wait_for(lambda: platform.json("builds", "-a", app)[0]["status"] == "failed", 30)
    platform.paas("config:set", "NAP=0", "-a", app)
    done = platform.push(push.repository, app)
    assert done.returncode == 0, done.stdout
    assert platform.get(app).text == "built"


def test_a_build_outlives_the_spawner(platform: Platform) -> None:
    app = "outlives"
    platform.paas("create", app, "--no-remote", check=False)
    platform.paas("config:set", "NAP=3", "-a", app)
    push = Push(platform, app)
    push.wait_for_line("building")
    os.kill(platform.running_pid("spawner"), signal.SIGKILL)
    assert push.end() == 0, "".join(push.lines)
    assert platform.get(app).text == "built"


def test_a_running_build_holds_up_no_clean_up_and_loses_nothing(platform: Platform) -> None:
    def layers() -> set[str]:
        return {layer.digest for layer in Spawner(platform.run_folder / "spawner/spawner.sock").layers()}

    waits = "echo building; until [ -e /cache/go ]; do sleep 0.1; done"
    package = json.loads(SLOW["package.json"]) | {"scripts": {"build": waits, "start": "node s.js"}}
    before = layers()
    platform.deploy({"Procfile": "web: python3 -m http.server $PORT --bind 0.0.0.0", "x": "y"}, "leaving")
    leaving = layers() - before
    time.sleep(2 * CLOCK_S)  # what is made just before a build stays until that has ended
    push = Push(platform, "holding", {**SLOW, "package.json": json.dumps(package)})
    push.wait_for_line("building")
    held = layers() - before - leaving
    platform.paas("apps:destroy", "-a", "leaving", "--confirm", "leaving")
    wait_for(lambda: not layers() & leaving, 30)
    assert leaving and held and layers() >= held
    for folder in (platform.home / "caches").iterdir():
        (folder / "go").touch()
    assert push.end() == 0, "".join(push.lines)
    assert platform.get("holding").text == "built"


@pytest.mark.long
def test_clean_ups_one_after_the_other_lose_nothing_of_two_builds(platform: Platform) -> None:
    package = json.loads(SLOW["package.json"]) | {"dependencies": {"is-number": "7.0.0"}}
    scripts = {"build": "echo building; sleep 4; echo $RANDOM >made", "start": "node s.js"}
    files = {**SLOW, "package.json": json.dumps(package | {"scripts": scripts})}
    pushes = [Push(platform, f"busy{number}", {**files, "n": str(number)}) for number in range(2)]
    rounds = 0
    while any(push.process.poll() is None for push in pushes):
        platform.paas("create", "passing", "--no-remote")
        platform.paas("destroy", "passing", "--confirm", "passing")  # a clean-up follows
        rounds += 1
    for number, push in enumerate(pushes):
        assert push.end() == 0, push.text
        assert platform.get(f"busy{number}").text == "built"
        commit(push.repository, "Again", n=f"again {number}")
        again = platform.push(push.repository, f"busy{number}")
        assert again.returncode == 0 and "layer reused" in again.stdout, again.stdout
    assert rounds > 2
