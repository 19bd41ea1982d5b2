"""A push that cannot go live says why, leaves the ref and the old release alone, and costs no visitor anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from harness.platform import ROOT, Platform, commit, git

GOOD = {
    "requirements.txt": "gunicorn\n",
    "Procfile": "web: gunicorn app:app\n",
    "app.py": "def app(environ, start):\n    start('200 OK', [])\n    return [b'good']\n",
}

APPS = ROOT / "tests/apps"
FAILURES: dict[str, tuple[dict[str, str], list[str]]] = {
    "failing-build": ({}, ["no-such-package-anywhere-1f3c", "build command failed"]),
    "failing-release": (
        {},
        ["migrating", "cannot reach the database", "The release command exited with status 3"],
    ),
    "exits-at-once": ({}, ["web.1 exited with status 7 during boot", "goodbye"]),
    "loopback-only": ({}, ["web.1 listens on 127.0.0.1:8000, expected 0.0.0.0:$PORT."]),
    "wrong-port": ({}, ["web.1 listens on 0.0.0.0:8000, expected 0.0.0.0:$PORT."]),
    "dying-worker": ({}, ["The app's own error: RuntimeError: the settings are missing"]),
    "memory-eater": (
        {"Procfile": "web: EAT_AT_BOOT=1 exec python3 app.py\n"},
        ["Out of memory: web.1 ran out of memory during boot: the limit is 512 MiB, its peak"],
    ),
    "a command that is not there": (
        {"Procfile": "web: no-such-command --port $PORT\n"},
        ["command not found: no-such-command"],
    ),
    "a script that is not there": (
        {"Procfile": "web: ./nope.sh\n"},
        ["web.1: there is no file /app/nope.sh.", "git ls-files nope.sh"],
    ),
    "a script without the right to be run": (
        {"Procfile": "web: ./app.py\n"},
        ["web.1: /app/app.py is not executable (mode 644).", "git update-index --chmod=+x app.py"],
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
    if (APPS / case).is_dir():
        shutil.copytree(APPS / case, app, dirs_exist_ok=True)
    commit(app, case, **files)
    done = platform.push(app, "victim", "main", timeout=100)
    git(app, "reset", "-q", "--hard", good)
    assert done.returncode == 1, done.stdout
    assert "Push rejected" in done.stdout
    assert "pre-receive hook declined" in done.stdout
    for words in evidence:
        assert words in done.stdout, f"{words!r} is missing in:\n{done.stdout}"
    assert platform.get("victim").text == "good"
    assert platform.json("apps:info", "-a", "victim")["release"] == release


def test_an_app_that_never_listens_is_rejected_when_its_boot_time_is_over(stacks: str) -> None:
    patient = Platform(boot_timeout_s="4")
    try:
        patient.start()
        patient.make_key()
        done = patient.push(patient.repository("tests/apps/never-listens"), "silent")
        assert done.returncode == 1, done.stdout
        assert "Never listened: web.1 opened no port within 4 s." in done.stdout
        assert "waiting for nothing" in done.stdout
    finally:
        patient.close()


def test_a_first_push_that_fails_can_be_repaired_and_pushed_again(platform: Platform) -> None:
    repository = platform.repository({**GOOD, "Procfile": "web: exit 1\n"})
    assert platform.push(repository, "phoenix").returncode == 1
    commit(repository, "Repair", Procfile=GOOD["Procfile"])
    done = platform.push(repository, "phoenix")
    assert done.returncode == 0, done.stdout
    assert platform.get("phoenix").text == "good"
