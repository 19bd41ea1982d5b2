"""A push whose api dies: its answer is true all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness.platform import Platform, commit, wait_for

_SLOW = """\
import http.server, os, time
time.sleep({seconds})
{then}
http.server.HTTPServer(("", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def start_push(platform: Platform, repository: Path, app: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["git", "push", f"ssh://paas@127.0.0.1:{platform.ssh}/{app}", "main"],
        cwd=repository,
        env=platform.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until_said(push: subprocess.Popen[str], text: str) -> str:
    assert push.stdout is not None
    said = ""
    while text not in said:
        line = push.stdout.readline()
        assert line, said
        said += line
    return said


def kill_api(platform: Platform, seconds: float) -> None:
    """Each time it comes back within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid = platform.pid_of("api")
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def test_who_follows_a_deployment_is_woken_by_the_loop(platform: Platform) -> None:
    """The api's waiter is where the loop looks for it, and goes with the end of the push."""
    source = {
        "Procfile": "web: python3 app.py\n",
        "requirements.txt": "",
        "app.py": _SLOW.format(seconds=2, then=""),
    }
    push = start_push(platform, platform.repository(source), "woken")
    said = until_said(push, "Starting web")
    waiting = platform.run_folder / "converge" / "waiting"
    assert len(list(waiting.iterdir())) == 1
    said += push.communicate(timeout=60)[0]
    assert push.returncode == 0, said
    wait_for(lambda: not list(waiting.iterdir()))


@pytest.mark.long
def test_deployment_that_goes_on_without_the_api_is_told_as_it_ends(platform: Platform) -> None:
    source = {
        "Procfile": "web: python3 app.py\n",
        "requirements.txt": "",
        "app.py": _SLOW.format(seconds=0, then=""),
    }
    repository = platform.deploy(source, "outage")
    version = commit(repository, "slow", **{"app.py": _SLOW.format(seconds=9, then="")})
    push = start_push(platform, repository, "outage")
    said = until_said(push, "Starting web")
    kill_api(platform, 6)
    said += push.communicate(timeout=60)[0]
    assert push.returncode == 0, said
    assert "The platform's api broke off" in said and said.count("Starting web") == 1
    assert "is live" in said
    wait_for(lambda: platform.paas("releases", "-a", "outage", check=False).returncode == 0)
    assert version[:7] in platform.paas("releases", "-a", "outage").stdout

    commit(repository, "broken", **{"app.py": _SLOW.format(seconds=6, then="raise SystemExit(3)")})
    push = start_push(platform, repository, "outage")
    said = until_said(push, "Starting web")
    kill_api(platform, 1)
    said += push.communicate(timeout=60)[0]
    assert push.returncode == 1, said
    assert "exited with status 3" in said and "Push rejected" in said
    assert platform.get("outage").status == 200
    assert not list((platform.run_folder / "converge" / "waiting").iterdir()), "of an api that was killed"
