"""`git push` with the real clients: what is deployed, what is refused, and what each answer says."""

from __future__ import annotations

from typing import Any


def test_first_push_makes_the_app_and_the_branch_follows(daemon: Any, ann: Any) -> None:
    done = ann.push()
    assert done.returncode == 0, done.stderr + daemon.log()
    assert "remote: -----> Building hello from" in done.stderr
    assert "* [new branch]      main -> main" in done.stderr
    [push] = daemon.platform.pushes
    commit = ann.git("rev-parse", "HEAD").stdout.strip()
    assert push.request["commit"] == commit
    assert push.request["author"] == "ann@example.com"
    assert push.request["subject"] == "first"
    assert ann.git("ls-remote", "paas").stdout.split("\n")[0] == f"{commit}\tHEAD"
    assert daemon.settled()
