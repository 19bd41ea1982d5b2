"""`git push`, and the app is live: the whole path with the real git, ssh and HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading

import pytest
from harness.platform import Platform, commit, git, wait_for


def test_a_first_push_creates_the_app_and_it_answers_when_the_push_returns(platform: Platform) -> None:
    repository = platform.repository("examples/hello")
    done = platform.push(repository, "hello")
    assert done.returncode == 0, done.stdout
    answer = platform.get("hello")
    assert answer.status == 200
    assert "hello" in answer.text.lower()
    lines = [
        line.removeprefix("remote: ").rstrip()
        for line in done.stdout.splitlines()
        if line.startswith("remote: ")
    ]
    grammar = re.compile(r"-----> \S.*|       .*|=====> \S.*| !     \S.*|")
    assert [line for line in lines if not grammar.fullmatch(line)] == []
    assert [line for line in lines if len(line) > 100] == []
    for wanted in (
        "-----> Creating app hello",
        "-----> Building hello from",
        "Python app detected",
        "-----> Release v",
        "is live",
    ):
        assert any(wanted in line for line in lines), f"{wanted!r} is missing in:\n{done.stdout}"


def test_an_unchanged_lockfile_reuses_the_dependency_layer(platform: Platform) -> None:
    repository = platform.deploy("examples/hello", "again")
    commit(repository, "Change the code only", **{"notes.txt": "hello again"})
    done = platform.push(repository, "again")
    assert done.returncode == 0, done.stdout
    assert "layer reused" in done.stdout


def test_the_same_commit_pushed_again_is_up_to_date(platform: Platform) -> None:
    repository = platform.deploy({"index.html": "<p>one</p>"}, "uptodate")
    done = platform.push(repository, "uptodate")
    assert done.returncode == 0
    assert "Everything up-to-date" in done.stdout


def test_an_older_commit_can_be_forced_back(platform: Platform) -> None:
    repository = platform.deploy({"index.html": "<p>one</p>"}, "forced")
    commit(repository, "Two", **{"index.html": "<p>two</p>"})
    assert platform.push(repository, "forced").returncode == 0
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    refused = platform.push(repository, "forced")
    assert refused.returncode == 1
    done = platform.push(repository, "forced", "+main")
    assert done.returncode == 0, done.stdout
    assert "one" in platform.get("forced").text


@pytest.mark.parametrize(
    ("refspec", "said"),
    [
        ("main:feature", "git push paas feature:main"),
        ("main:refs/tags/v1", "main"),
        (":main", "!"),
    ],
)
def test_anything_but_the_deploy_branch_is_refused_with_what_to_do(
    platform: Platform, refspec: str, said: str
) -> None:
    repository = (
        platform.deploy({"index.html": "<p>one</p>"}, "branches")
        if not _exists(platform, "branches")
        else None
    )
    repository = repository or platform.repository({"index.html": "<p>other</p>"})
    done = platform.push(repository, "branches", refspec)
    assert done.returncode == 1, done.stdout
    assert said in done.stdout
    assert "pre-receive hook declined" in done.stdout
    assert "one" in platform.get("branches").text


def _exists(platform: Platform, app: str) -> bool:
    return app in {item["name"] for item in platform.json("apps")}


def test_two_pushes_at_once_are_served_one_after_the_other(platform: Platform) -> None:
    repository = platform.deploy("examples/hello", "twice")
    other = platform.repository("examples/hello")
    git(other, "fetch", "-q", str(repository), "main")
    git(other, "reset", "-q", "--hard", "FETCH_HEAD")
    commit(repository, "Mine", **{"mine.txt": "1"})
    theirs = commit(other, "Theirs", **{"theirs.txt": "2"})
    answers: dict[str, subprocess.CompletedProcess[str]] = {}
    threads = [
        threading.Thread(target=lambda: answers.update(mine=platform.push(repository, "twice", "+main"))),
        threading.Thread(target=lambda: answers.update(theirs=platform.push(other, "twice", "+main"))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output = "\n".join(answer.stdout for answer in answers.values())
    assert [answer.returncode for answer in answers.values()].count(0) >= 1, output
    live = platform.json("releases", "-a", "twice")[0]["commit"]
    assert live in (theirs, git(repository, "rev-parse", "HEAD"))


def test_an_unknown_key_and_an_unknown_repository_end_with_128(platform: Platform) -> None:
    repository = platform.repository({"index.html": "x"})
    stranger = platform.folder / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    environ = platform.environ(GIT_SSH_COMMAND=" ".join(platform.ssh_words(stranger)))
    url = f"ssh://paas@127.0.0.1:{platform.ssh}/hello"
    done = subprocess.run(
        ["git", "push", url, "main"], cwd=repository, env=environ, capture_output=True, check=False
    )
    assert done.returncode == 128
    assert platform.push(repository, "Bad_Name").returncode == 128


def test_ctrl_c_cancels_a_push_and_leaves_nothing_behind(platform: Platform) -> None:
    source = {
        "package.json": '{"name": "slow", "version": "1.0.0", "scripts": {"build": "sleep 60", "start": "node x.js"}}',
    }
    repository = platform.repository(source)
    before = _instances(platform)
    url = f"ssh://paas@127.0.0.1:{platform.ssh}/cancelled"
    push = subprocess.Popen(
        ["git", "push", url, "main"], cwd=repository, env=platform.environ(), stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert push.stderr is not None
    for line in push.stderr:
        if "> sleep 60" in line:
            break
    os.killpg(push.pid, signal.SIGINT)
    push.wait(20)
    wait_for(lambda: platform.json("builds", "-a", "cancelled")[0]["status"] == "cancelled", 20)
    wait_for(lambda: _instances(platform) <= before, 20)
    assert platform.json("releases", "-a", "cancelled") == []


def _instances(platform: Platform) -> set[str]:
    return {path.name for path in (platform.run_folder / "instances").iterdir()}


@pytest.mark.parametrize("example", ["node", "static", "worker", pytest.param("go", marks=pytest.mark.long)])
def test_every_example_goes_live(platform: Platform, example: str) -> None:
    platform.deploy(f"examples/{example}", f"ex-{example}")
    assert platform.get(f"ex-{example}").status == 200
