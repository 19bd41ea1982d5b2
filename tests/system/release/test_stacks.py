"""A stack is built anew with Debian's updates, and an app stands on it without a build, as a release like any other."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from harness.platform import Platform

from runtime.image.removal import remove_path
from runtime.stack import build


@pytest.fixture
def older(stacks: str) -> Iterator[Path]:
    """A folder of stacks beside the machine's, whose debian-12 has a file that no new one has."""
    folder = Path(tempfile.mkdtemp(prefix="older-", dir=Path(stacks).parent))
    folder.chmod(0o755)
    made = build.load(Path(stacks), "debian-12")
    assert made is not None
    for part in ("layers", "blobs/sha256", "tmp"):
        (folder / part).mkdir(parents=True)
    run, upper = (digest.removeprefix("sha256:") for digest in made.build)
    for part in ("layers", "blobs/sha256"):
        subprocess.run(["cp", "-al", f"{stacks}/{part}/{upper}", folder / part], check=True)
    tree = folder / "tmp/run"
    subprocess.run(["cp", "-al", f"{stacks}/layers/{run}", tree], check=True)
    (tree / "etc/older").write_text("older\n")
    digest = build.publish(tree, build.pack(tree), folder)
    described = {**asdict(made), "run": [digest], "build": [digest, made.build[1]]}
    (folder / "debian-12.json").write_text(json.dumps({**described, "created": "2026-01-02T03:04:05Z"}))
    yield folder
    remove_path(folder)


@pytest.fixture
def platform(older: Path) -> Iterator[Platform]:
    made = Platform(stacks=str(older))
    try:
        made.start()
        made.make_key()
        yield made
    finally:
        made.close()


@pytest.mark.long
def test_an_app_is_put_on_a_new_stack_without_a_build_and_can_go_back(platform: Platform) -> None:
    platform.paas("create", "hello")
    platform.deploy("examples/hello", "hello")
    platform.paas("config:set", "A=1", "-a", "hello")
    before = platform.json("image:history", "-a", "hello")["layers"]
    assert platform.json("stacks:apps") == [
        {"name": "hello", "stack": "debian-12", "release": 2, "current": True}
    ]
    listed = "ls /etc/older; echo $A"
    assert platform.paas("run", "-a", "hello", "--", listed).stdout == "/etc/older\n1\n"

    done = platform.paas("stacks:update", "debian-12", timeout=600)
    assert "Rebasing hello" in done.stderr and "v3" in done.stdout, done.stdout + done.stderr
    after = platform.json("image:history", "-a", "hello")["layers"]
    assert after[0]["digest"] != before[0]["digest"] and after[1:] == before[1:]
    (release, *_) = platform.json("releases", "-a", "hello")
    made = platform.json("stacks")[0]["created"][:10]
    assert release["description"] == f"Rebase on stack debian-12 {made}"
    assert platform.get("hello").status == 200
    assert platform.paas("run", "-a", "hello", "--", listed).stdout == "1\n"
    assert platform.json("stacks:update", "debian-12", "--rebase-only")["apps"] == []

    platform.paas("rollback", "v2", "-a", "hello")
    assert [app["current"] for app in platform.json("stacks:apps")] == [False]
    assert platform.json("stacks:update", "debian-12", "--rebase-only")["apps"] == [
        {"app": "hello", "release": 5, "reason": ""}
    ]
    rebuilt = platform.paas("ps:rebuild", "-a", "hello")
    assert "done, v6" in rebuilt.stderr
    assert platform.get("hello").status == 200
