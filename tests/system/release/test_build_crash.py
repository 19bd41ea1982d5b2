"""A build whose builder dies: nothing of it stays, and the same push works again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading

from harness.platform import Platform, wait_for

from runtime.client import Spawner

SLOW = {
    "package.json": json.dumps(
        {
            "name": "slow",
            "version": "1.0.0",
            "scripts": {"build": "echo building; sleep $NAP", "start": "node s.js"},
        }
    ),
    "s.js": 'require("http").createServer((q, s) => s.end("built")).listen(process.env.PORT, "0.0.0.0");\n',
}


class Push:
    """A push that runs in the background; its output is collected."""

    def __init__(self, platform: Platform, app: str, files: dict[str, str] = SLOW) -> None:
        self.repository = platform.repository(files)
        url = f"ssh://paas@127.0.0.1:{platform.ssh}/{app}"
        self.process = subprocess.Popen(
            ["git", "push", url, "main"], cwd=self.repository, env=platform.environ(), stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def wait_for_line(self, text: str) -> None:
        wait_for(lambda: any(text in line for line in self.lines), 60)

    def end(self) -> int:
        code = self.process.wait(60)
        self._reader.join()
        return code


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
