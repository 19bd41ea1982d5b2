"""`make demo`: it finds ports of its own, ends by Ctrl-C, and leaves nothing."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.platform import ROOT, wait_for

_STAYS = re.compile(r"It stays up at (\S+) until Ctrl-C")


class Demo:
    """One demo, started as a script's `&` starts it: with SIGINT ignored."""

    def __init__(self, folder: Path, stacks: str) -> None:
        self.folder = folder
        folder.mkdir()
        self._log = folder / "log"
        words = [sys.executable, "-P", "examples/demo.py", "--stacks", stacks]
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"trap '' INT; exec {shlex.join(words)} >{shlex.quote(str(self._log))} 2>&1"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
        )

    def said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def address(self) -> str:
        """Where the app answers, once the demo says so."""
        match = wait_for(lambda: _STAYS.search(self.said()) or self.process.poll() is not None, 180)
        assert isinstance(match, re.Match), self.said()
        return match[1]

    def end(self, number: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(120)


@pytest.fixture
def demos(tmp_path: Path, stacks: str) -> Iterator[list[Demo]]:
    started = [Demo(tmp_path / name, stacks) for name in ("one", "two")]
    yield started
    for demo in started:
        demo.end(signal.SIGTERM)


def test_two_demos_side_by_side_answer_on_ports_of_their_own_and_end_by_ctrl_c(demos: list[Demo]) -> None:
    assert len({demo.address() for demo in demos}) == 2
    for demo in demos:
        assert "Hello from web.1 of v1" in demo.said()
    for demo in demos:
        assert demo.end(signal.SIGINT) == 0, demo.said()
        assert "Removing" in demo.said() and "Traceback" not in demo.said()
        assert [path.name for path in demo.folder.iterdir()] == ["log"]
