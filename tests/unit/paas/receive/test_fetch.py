"""The process that fetches: an archive in, a source out, and the same source as a push of the files makes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.git_http import git_daemon
from harness.platform import git, wait_for

from paas.receive.fetch import _root

FILES = {
    "app.py": "print(1)\n",
    "services/api/run.sh": "#!/bin/sh\n",
    ".slugignore": "*.psd\n",
    "logo.psd": "much",
}


class Fetching:
    """The process, and what it answers."""

    def __init__(self, sources: Path, archive: Path, **wanted: Any) -> None:
        descriptor = os.open(archive, os.O_RDONLY)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "paas.receive.fetch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
        )
        os.close(descriptor)
        assert self.process.stdin is not None and self.process.stdout is not None
        asked = {
            "sources": str(sources),
            "pack_bytes": 1 << 20,
            "source_bytes": 1 << 20,
            "root": "",
            "private": ["127.0.0.0/8"],
            "archive": descriptor,
        }
        self.process.stdin.write(json.dumps(asked | wanted).encode() + b"\n")
        self.process.stdin.flush()
        self.lines = self.process.stdout

    def answer(self) -> dict[str, Any]:
        said = []
        for line in self.lines:
            message = json.loads(line)
            if "line" not in message:
                return {**message, "said": said}
            said.append(message["line"])
        raise AssertionError("it answered nothing")

    def close(self) -> None:
        self.process.communicate(timeout=20)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    path = tmp_path / "sources"
    path.mkdir()
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "repo"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "One")
    yield folder


def archived(tree: Path, *words: str) -> Path:
    git(tree, "archive", *words, "-o", "../app.tgz", "HEAD")
    return tree.parent / "app.tgz"


def test_the_source_is_that_of_the_same_files_pushed_and_goes_at_the_end(sources: Path, tree: Path) -> None:
    fetching = Fetching(sources, archived(tree, "--prefix=app-1.0/"))
    answer = fetching.answer()
    assert answer["source"] == {"commit": "", "tree": git(tree, "rev-parse", "HEAD^{tree}")}
    assert answer["said"] == ["-----> Leaving out 1 file that .slugignore names"]
    limits = Path(f"/proc/{fetching.process.pid}/limits").read_text()
    assert re.search(rf"Max address space +{512 << 20} ", limits)
    tars = list(sources.glob("*.tar"))
    with tarfile.open(tars[0]) as tar:
        assert {"app/app.py", "app/services/api/run.sh"} <= set(tar.getnames())
        assert "app/logo.psd" not in tar.getnames()
    fetching.close()
    assert fetching.process.returncode == 0
    assert list(sources.iterdir()) == []


def test_a_commit_elsewhere_becomes_a_source(sources: Path, tree: Path, tmp_path: Path) -> None:
    with git_daemon(tmp_path) as base:
        fetching = Fetching(sources, archived(tree), url=f"{base}/repo/.git", root="services/api")
        answer = fetching.answer()
        fetching.close()
        refused = Fetching(sources, archived(tree), url=f"{base}/repo/.git", private=[])
        assert "private network" in refused.answer()["error"]["message"]
        refused.close()
    head = git(tree, "rev-parse", "HEAD")
    assert answer["source"] == {"commit": head, "tree": git(tree, "rev-parse", "HEAD:services/api")}
    assert list(sources.iterdir()) == []


def test_the_app_may_be_a_folder_of_the_archive(sources: Path, tree: Path) -> None:
    fetching = Fetching(sources, archived(tree, "--prefix=app-1.0/"), root="services/api")
    assert fetching.answer()["source"]["tree"] == git(tree, "rev-parse", "HEAD:services/api")
    fetching.close()


def test_a_refusal_is_the_callers_and_leaves_nothing(sources: Path, tree: Path) -> None:
    for wanted, sentence in (({"root": "no"}, "no folder no"), ({"source_bytes": 3}, "unpacks to more")):
        fetching = Fetching(sources, archived(tree), **wanted)
        assert sentence in fetching.answer()["error"]["message"]
        fetching.close()
    assert list(sources.iterdir()) == []


def test_a_hang_up_ends_it_and_leaves_nothing(sources: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "slow"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDWR), "wb") as out:
        fetching = Fetching(sources, pipe)
        out.write(b"\0")
        out.flush()
        wait_for(lambda: list(sources.glob(".new-*/incoming/*/HEAD")))
        with contextlib.suppress(ProcessLookupError):
            fetching.process.send_signal(signal.SIGHUP)
        assert fetching.process.wait(20) == 0
    assert list(sources.iterdir()) == []


@pytest.mark.parametrize(
    ("top", "root", "folder"),
    [
        ("", "", ""),
        ("", "a", "a"),
        ("x", "", "x"),
        ("x", "a/b", "x/a/b"),
        ("x", "x", "x"),
        ("x", "x/y", "x/y"),
    ],
)
def test_the_folder_of_the_app(top: str, root: str, folder: str) -> None:
    assert _root(top, root) == folder
