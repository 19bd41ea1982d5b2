"""What a push costs before anything is built: received, checked and exported, beside git's own receive-pack."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, timed
from harness.platform import Platform, git

ROUNDS = 3
FILES, FILE_BYTES = 10_000, 5_000


def measure(platform: Platform) -> Iterator[Figure]:
    """The figures of pushes to a platform that runs."""
    repository = _large(platform)
    ours = [_until_exported(platform, repository, f"large-{number}") for number in range(ROUNDS)]
    stock = [_stock(repository) for _ in range(ROUNDS)]
    ratios = [one / other for one, other in zip(sorted(ours), sorted(stock), strict=True)]
    note = f"{min(ours):.2f} s over ssh, checked and exported; stock {min(stock):.2f} s into a local folder"
    yield Figure("push of 10,000 files, 50 MB", "× stock", ratios, "1.5", "1.1", note)


def _large(platform: Platform) -> Path:
    """A commit of 10,000 files that cannot be compressed, which no buildpack takes."""
    repository = platform.repository({"README": "many files\n"}, "large")
    dice = random.Random(1)
    for number in range(FILES):
        folder = repository / f"d{number // 100}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}").write_bytes(dice.randbytes(FILE_BYTES))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "Many")
    subprocess.run(["git", "repack", "-a", "-d", "-q"], cwd=repository, check=True)
    return repository


def _until_exported(platform: Platform, repository: Path, app: str) -> float:
    """Seconds from the push until its build begins; it is refused then, as there is nothing to run."""
    began, exported = time.monotonic(), 0.0
    url = f"ssh://paas@127.0.0.1:{platform.ssh}/{app}"
    with subprocess.Popen(
        ["git", "push", "-q", url, "main"],
        cwd=repository,
        env=platform.environ(),
        stderr=subprocess.PIPE,
        text=True,
    ) as push:
        assert push.stderr is not None
        for line in push.stderr:
            if "-----> Building" in line:
                exported = time.monotonic() - began
    assert exported
    return exported


def _stock(repository: Path) -> float:
    with tempfile.TemporaryDirectory(prefix="paas-bench-") as folder:
        subprocess.run(["git", "init", "-q", "--bare", folder], check=True)
        environ = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "push", "-q", folder, "main"]
        return timed(lambda: subprocess.run(command, cwd=repository, env=environ, check=True))
