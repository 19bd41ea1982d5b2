"""A push that cannot go live says why, leaves the ref and the old release alone, and costs no visitor anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.platform import Platform, commit, git

GOOD = {
    "requirements.txt": "gunicorn\n",
    "Procfile": "web: gunicorn app:app\n",
    "app.py": "def app(environ, start):\n    start('200 OK', [])\n    return [b'good']\n",
}

FAILURES = {
    "a failing build": (
        {"requirements.txt": "no-such-package-of-anyone==99.99\n"},
        ["no-such-package-of-anyone"],
    ),
    "a failing release phase": (
        {"Procfile": "web: gunicorn app:app\nrelease: echo migrating; exit 3\n"},
        ["migrating", "status 3"],
    ),
    "an app that exits": ({"Procfile": "web: sh -c 'echo going away; exit 7'\n"}, ["status 7", "going away"]),
    "a command that is not there": ({"Procfile": "web: no-such-command --port $PORT\n"}, ["not found"]),
    "an app that listens on the loopback address only": (
        {"Procfile": "web: gunicorn app:app -b 127.0.0.1:$PORT\n"},
        ["127.0.0.1:5000", "0.0.0.0:$PORT"],
    ),
    "an app that listens on the wrong port": (
        {"Procfile": "web: gunicorn app:app -b 0.0.0.0:9999\n"},
        ["9999", "$PORT"],
    ),
    "an app whose workers die while they boot": (
        {"app.py": "raise RuntimeError('no database here')\n"},
        ["no database here"],
    ),
    "an app that needs more memory than it may have": (
        {
            "app.py": "import time\nhoard = []\nwhile True:\n    hoard.append(bytearray(b'x' * (8 << 20)))\n    time.sleep(0.001)\n",
            "Procfile": "web: python app.py\n",
        },
        ["memory", "512"],
    ),
    "a Procfile with a bad line": ({"Procfile": "web: gunicorn app:app\nthis is no line\n"}, ["line 2"]),
    "an app.json that is not JSON": ({"app.json": "{oops"}, ["app.json"]),
}


@pytest.fixture(scope="module")
def app(platform: Platform) -> Path:
    return platform.deploy(GOOD, "victim")


@pytest.mark.parametrize("case", FAILURES)
def test_the_push_is_rejected_with_its_cause_and_the_old_release_serves(
    platform: Platform, app: Path, case: str
) -> None:
    files, evidence = FAILURES[case]
    release = platform.json("apps:info", "-a", "victim")["release"]
    good = git(app, "rev-parse", "HEAD")
    commit(app, case, **files)
    done = platform.push(app, "victim", "main", timeout=100)
    git(app, "reset", "-q", "--hard", good)
    assert done.returncode == 1, done.stdout
    assert "Push rejected" in done.stdout
    assert "pre-receive hook declined" in done.stdout
    assert "Traceback" not in done.stdout or "no database" in done.stdout or "package" in done.stdout
    for words in evidence:
        assert words in done.stdout, f"{words!r} is missing in:\n{done.stdout}"
    assert platform.get("victim").text == "good"
    assert platform.json("apps:info", "-a", "victim")["release"] == release


def test_an_app_that_never_listens_is_rejected_when_its_boot_time_is_over(stacks: str) -> None:
    patient = Platform(boot_timeout_s="4")
    try:
        patient.start()
        patient.make_key()
        repository = patient.repository({"Procfile": "web: sleep 1000\n"})
        done = patient.push(repository, "silent")
        assert done.returncode == 1, done.stdout
        assert "never listened" in done.stdout
    finally:
        patient.close()


def test_a_first_push_that_fails_can_be_repaired_and_pushed_again(platform: Platform) -> None:
    repository = platform.repository({**GOOD, "Procfile": "web: exit 1\n"})
    assert platform.push(repository, "phoenix").returncode == 1
    commit(repository, "Repair", Procfile=GOOD["Procfile"])
    done = platform.push(repository, "phoenix")
    assert done.returncode == 0, done.stdout
    assert platform.get("phoenix").text == "good"
