"""The program `paas` is interrupted while it still imports."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

INTERRUPTED = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.{before})  # as its parent has it
from paas.cli.entry import run
there = builtins.__import__

def importing(name, *rest, **more):
    if name == "click":
        builtins.__import__ = there
        os.kill(os.getpid(), signal.SIGINT)
    return there(name, *rest, **more)

builtins.__import__ = importing
sys.argv = ["paas", "--version"]
sys.exit(run())
"""


@pytest.mark.parametrize(
    ("before", "status"),
    [("default_int_handler", -signal.SIGINT), ("SIG_IGN", 0)],
    ids=["by Ctrl-C", "in vain, as the parent ignores it"],
)
def test_an_interrupt_before_the_command_line_is_there_shows_no_traceback(before: str, status: int) -> None:
    words = [sys.executable, "-P", "-c", INTERRUPTED.format(before=before)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
