"""`git push` with the real clients: what is deployed, what is refused, and what each answer says."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.git import Client, GitDaemon
from harness.git_api import Deploying, succeeds


def fails(push: Deploying) -> dict[str, Any]:
    push.emit({"line": "-----> Python app detected (requirements.txt)"})
    return {
        "error": {
            "code": "deploy_failed",
            "message": "web.1 had 256M and used 256M.",
            "cause": "out of memory",
            "hint": "Give it more: paas limits:set web memory=512M",
            "lines": ["Killed", "\x1b[31mred"],
        }
    }


def test_first_push_makes_the_app_and_the_branch_follows(daemon: GitDaemon, ann: Client) -> None:
    done = ann.push()
    assert done.returncode == 0, done.stderr + daemon.log()
    assert "remote: -----> Building hello from" in done.stderr
    assert "* [new branch]      main -> main" in done.stderr
    [push] = daemon.platform.pushes
    commit = ann.git("rev-parse", "HEAD").stdout.strip()
    assert push.user == "ann"
    assert push.request["commit"] == commit
    assert push.request["tree"] == ann.git("rev-parse", "HEAD^{tree}").stdout.strip()
    assert ann.git("ls-remote", "paas").stdout.split("\n")[0] == f"{commit}\tHEAD"
    assert daemon.settled()


def test_second_push_and_then_nothing_to_do(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    ann.commit("second")
    assert ann.push().returncode == 0
    assert len(daemon.platform.pushes) == 2
    done = ann.push()
    assert done.returncode == 0
    assert "Everything up-to-date" in done.stderr
    assert len(daemon.platform.pushes) == 2


def test_failure_tells_cause_evidence_and_advice_and_leaves_the_branch(
    daemon: GitDaemon, ann: Client
) -> None:
    assert ann.push().returncode == 0
    before = ann.git("ls-remote", "paas").stdout
    ann.commit("second")
    daemon.platform.deploy = fails
    done = ann.push()
    assert done.returncode == 1
    told = [line.removeprefix("remote: ").rstrip() for line in done.stderr.splitlines()]
    start = told.index("-----> Python app detected (requirements.txt)")
    assert told[start + 1 : start + 6] == [
        " !     Out of memory: web.1 had 256M and used 256M.",
        " !     Give it more: paas limits:set web memory=512M",
        "       Killed",
        "       red",
        " !     Push rejected: out of memory.",
    ]
    assert "! [remote rejected] main -> main (pre-receive hook declined)" in done.stderr
    assert ann.git("ls-remote", "paas").stdout == before
    daemon.platform.deploy = succeeds
    assert ann.push().returncode == 0, "the same commit can be pushed again"
    assert daemon.settled()


def test_forced_push_of_another_history_is_deployed(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    ann.git("commit", "-q", "--amend", "-m", "rewritten")
    assert ann.push().returncode == 1, "git's own client refuses without force"
    assert ann.push("--force", "paas", "main").returncode == 0
    assert daemon.platform.pushes[-1].request["commit"] == ann.git("rev-parse", "HEAD").stdout.strip()


def test_back_to_an_older_commit(daemon: GitDaemon, ann: Client) -> None:
    """The client sends an empty pack: everything is there."""
    assert ann.push().returncode == 0
    ann.commit("second")
    assert ann.push().returncode == 0
    done = ann.push("--force", "paas", "HEAD~1:main")
    assert done.returncode == 0, done.stderr
    assert daemon.platform.pushes[-1].request["commit"] == ann.git("rev-parse", "HEAD~1").stdout.strip()


def test_master_is_the_deploy_branch_too(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push("paas", "main:master").returncode == 0
    ann.commit("second")
    assert ann.push().returncode == 0
    heads = ann.git("ls-remote", "--heads", "paas").stdout.split()
    assert heads == [ann.git("rev-parse", "HEAD").stdout.strip(), "refs/heads/main"]


REFUSED: list[tuple[list[str], list[str]]] = [
    (["paas", "main:feature"], ["'feature' is not the branch", "Use: git push paas feature:main, if your own branch is called feature"]),
    (["paas", "HEAD:refs/x/y"], ["'refs/x/y' is not the branch", "Use: git push paas HEAD:main"]),
    (["paas", "v1"], ["Tags are not deployed.", "Use: git push paas v1^{commit}:refs/heads/main"]),
    (["paas", "main", "main:two"], ["A push updates one branch, not 2 refs ('main', 'two')"]),
    (["--follow-tags", "paas", "main"], ["A push updates one branch, not 2 refs"]),
    (["--mirror", "paas"], ["A push updates one branch, not 3 refs"]),
    (["-o", "faster", "paas", "main"], ["'faster' is not a push option.", "There are `-o nowait` and `-o canary=PERCENT`."]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentences"), REFUSED, ids=lambda value: " ".join(value)[:30])
def test_refused_with_the_command_to_use(
    daemon: GitDaemon, ann: Client, words: list[str], sentences: list[str]
) -> None:
    ann.git("tag", "-a", "-m", "v1", "v1")
    ann.git("branch", "other")
    done = ann.push(*words)
    assert done.returncode == 1, done.stderr
    for sentence in sentences:
        assert sentence in done.stderr, done.stderr
    assert "(pre-receive hook declined)" in done.stderr
    assert daemon.platform.apps == {} and daemon.platform.pushes == []


def test_delete_is_refused(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    done = ann.push("paas", ":main")
    assert done.returncode == 1
    assert "'main' cannot be deleted by a push." in done.stderr
    assert "paas apps:destroy -a hello" in done.stderr
    assert "refs/heads/main" in ann.git("ls-remote", "paas").stdout


def test_another_deploy_branch(daemon: GitDaemon, ann: Client) -> None:
    daemon.platform.app("hello", branch="production")
    done = ann.push()
    assert done.returncode == 1
    assert "which is production." in done.stderr
    assert "git push paas main:production" in done.stderr
    assert ann.push("paas", "main:production").returncode == 0
    assert ann.git("ls-remote", "--symref", "paas", "HEAD").stdout.startswith("ref: refs/heads/production")


def test_shallow_clone_is_told_how_to_fetch_the_rest(daemon: GitDaemon, ann: Client) -> None:
    ann.commit("second")
    ann.git("clone", "-q", "--depth", "1", f"file://{ann.tree}", str(ann.folder / "shallow"))
    ann.tree = ann.folder / "shallow"
    done = ann.push(ann.url("hello"), "main")
    assert done.returncode == 1
    assert "git fetch --unshallow" in done.stderr
    assert daemon.platform.apps == {}


def empty(ann: Client) -> str:
    ann.git("rm", "-q", "app.py")
    return "The commit contains no files."


def submodule(ann: Client) -> str:
    ann.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor/lib")
    ann.git("commit", "-q", "-m", "module")
    return "Submodules are not fetched: 'vendor/lib'."


@pytest.mark.parametrize("make", [empty, submodule], ids=lambda make: make.__name__)
def test_commit_that_cannot_be_built(daemon: GitDaemon, ann: Client, make: Callable[[Client], str]) -> None:
    sentence = make(ann)
    ann.git("commit", "-q", "--allow-empty", "-m", "bad")
    done = ann.push()
    assert done.returncode == 1
    assert sentence in done.stderr
    assert daemon.platform.apps == {}
    assert daemon.settled()


def test_empty_repository_has_nothing_to_push(daemon: GitDaemon, ann: Client) -> None:
    ann.git("checkout", "-q", "--orphan", "fresh")
    done = ann.push("paas", "fresh:main")
    assert done.returncode == 1
    assert "src refspec fresh does not match any" in done.stderr
    assert daemon.platform.apps == {}


def test_odd_names_and_links_arrive_as_they_are(daemon: GitDaemon, ann: Client) -> None:
    names = [
        b"with space",
        b"new\nline",
        b"caf\xe9.txt",
        "ümläut".encode(),
        b"d/" * 40 + b"deep",
        b"n" * 200,
        b"-x",
        b"*",
    ]
    for name in names:
        path = os.path.join(os.fsencode(ann.tree), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(b"content of " + name)
    (ann.tree / "out").symlink_to("../../etc/passwd")
    (ann.tree / "abs").symlink_to("/etc/passwd")
    (ann.tree / "in").symlink_to("app.py")
    (ann.tree / "run.sh").write_text("#!/bin/sh\n")
    (ann.tree / "run.sh").chmod(0o755)
    ann.commit("odd")
    done = ann.push()
    assert done.returncode == 0, done.stderr
    assert "The link 'abs' points out of the app's folder." in done.stderr
    assert "The link 'out' points out" in done.stderr and "'in'" not in done.stderr
    [push] = daemon.platform.pushes
    for name in names:
        assert push.source.read(os.fsdecode(name)) == b"content of " + name
    with tarfile.open(fileobj=io.BytesIO(push.tar), encoding="utf-8", errors="surrogateescape") as archive:
        members = archive.getmembers()
    by_name = {member.name: member for member in members}
    assert members[0].name == "app" and members[0].isdir()
    assert set(by_name) >= {"app/" + os.fsdecode(name) for name in names}
    assert by_name["app/out"].linkname == "../../etc/passwd"
    assert by_name["app/run.sh"].mode == 0o755 and by_name["app/app.py"].mode == 0o644
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(1000, 1000, 315532800)}


def test_ten_thousand_files(daemon: GitDaemon, ann: Client) -> None:
    lines = ["commit refs/heads/main", "committer Ann <ann@example.com> 1700000000 +0000", "data 4", "many"]
    for number in range(10_000):
        lines += [f"M 644 inline d{number % 100}/f{number}", "data 5", f"{number:05}"]
    ann.git("fast-import", "--quiet", "--force", input="\n".join(lines) + "\n")
    done = ann.push()
    assert done.returncode == 0, done.stderr
    assert sum(1 for _ in daemon.platform.pushes[0].source.names()) == 10_000


def test_same_tree_gives_the_same_source(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    ann.commit("same tree")
    assert ann.push("paas", "main").returncode == 0
    first, second = daemon.platform.pushes
    assert first.request["tree"] == second.request["tree"]
    assert first.tar == second.tar


def test_push_above_the_limit_is_told_the_limit(make_daemon: Callable[..., GitDaemon], root: Path) -> None:
    daemon = make_daemon(push_limit_bytes=4 << 20)
    ann = Client(daemon, root / "ann", "ann")
    ann.start_tree()
    (ann.tree / "big").write_bytes(os.urandom(9 << 20))
    ann.commit("big")
    done = ann.push()
    assert done.returncode == 1, done.stderr
    assert "The push is larger than 4 MiB." in done.stderr
    assert "(unpacker error)" in done.stderr
    assert daemon.platform.apps == {}
    assert daemon.settled()


def test_push_of_many_megabytes_within_the_limit(daemon: GitDaemon, ann: Client) -> None:
    (ann.tree / "big").write_bytes(os.urandom(12 << 20))  # above git's core.bigFileThreshold
    ann.commit("big")
    assert ann.push().returncode == 0
    assert len(daemon.platform.pushes[0].source.read("big", limit=1 << 30)) == 12 << 20


@pytest.mark.long
def test_long_silence_is_broken_by_a_heartbeat(daemon: GitDaemon, ann: Client) -> None:
    def deploy(push: Deploying) -> dict[str, Any]:
        for _ in range(12):
            push.emit({"ping": True})
            done.wait(1)
        return {"result": {}}

    done = threading.Event()
    daemon.platform.deploy = deploy
    told = ann.push()
    assert told.returncode == 0
    assert "remote:        Still at work (10 s)" in told.stderr


def test_clone_gives_back_what_serves(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    ann.git("clone", "-q", ann.url("hello.git"), str(ann.folder / "copy"))
    assert (ann.folder / "copy" / "app.py").read_text() == "print('hello')\n"


def test_g8_only_what_a_branch_reaches_is_given(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    old = ann.git("rev-parse", "HEAD").stdout.strip()
    ann.git("commit", "-q", "--amend", "-m", "other")
    assert ann.push("--force", "paas", "main").returncode == 0
    assert (
        subprocess.run(["git", f"--git-dir={daemon.repository('hello')}", "cat-file", "-e", old]).returncode
        == 0
    )
    ann.git("init", "-q", str(ann.folder / "thief"))
    ann.tree = ann.folder / "thief"
    for protocol in ("0", "2"):
        done = ann.git("-c", f"protocol.version={protocol}", "fetch", ann.url("hello"), old, check=False)
        assert done.returncode != 0
        assert "not our ref" in done.stderr or "unadvertised object" in done.stderr


def test_other_peoples_app_looks_like_none(daemon: GitDaemon, ann: Client, root: Path) -> None:
    assert ann.push().returncode == 0
    bob = Client(daemon, root / "bob", "bob")
    answers = []
    for name in ("hello", "nothing"):
        done = bob.git("ls-remote", bob.url(name), check=False)
        assert done.returncode == 128
        answers.append(done.stderr.replace(name, "NAME"))
    assert answers[0] == answers[1]
    bob.start_tree()
    done = bob.push()
    assert done.returncode != 0
    assert daemon.platform.apps["hello"]["owner"] == "ann"
    assert len(daemon.platform.pushes) == 1


def test_who_may_not_create_apps_is_told(daemon: GitDaemon, root: Path) -> None:
    guest = Client(daemon, root / "guest", "guest")
    guest.start_tree()
    done = guest.push()
    assert done.returncode == 1
    assert "guest may not create apps." in done.stderr
    assert daemon.platform.apps == {} and daemon.settled()


def test_name_that_breaks_the_rule(daemon: GitDaemon, ann: Client) -> None:
    done = ann.push(ann.url("Not_A_Name"), "main")
    assert done.returncode == 128
    assert "'Not_A_Name' is not an app name." in done.stderr


def test_unknown_key_is_not_let_in(daemon: GitDaemon, root: Path) -> None:
    stranger = Client(daemon, root / "stranger", None)
    stranger.start_tree()
    done = stranger.push()
    assert done.returncode == 128
    assert "Permission denied (publickey)" in done.stderr
    assert daemon.platform.apps == {}
