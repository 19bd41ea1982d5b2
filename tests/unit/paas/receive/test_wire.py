"""Bytes to and from a client that stalls or leaves, and where a hang-up may interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from paas.receive.wire import Hangup, Wire


@pytest.fixture
def pipes() -> list[int]:
    """Client's output, its input, its stderr: six ends."""
    return [end for _ in range(3) for end in os.pipe()]


def wire(pipes: list[int], stall_s: float = 5.0) -> Wire:
    source, _, _, sink, _, aside = pipes
    return Wire(source, sink, aside, stall_s)


def test_reads_are_exact_until_the_end(pipes: list[int]) -> None:
    os.write(pipes[1], b"abcdef")
    os.close(pipes[1])
    reader = wire(pipes)
    assert (reader.read(4), reader.read(4), reader.read(4)) == (b"abcd", b"ef", b"")


def test_a_client_that_stalls_or_has_left_is_given_up(pipes: list[int]) -> None:
    stalled = wire(pipes, stall_s=0.05)
    with pytest.raises(Hangup):
        stalled.read(1)
    with pytest.raises(Hangup):
        stalled.write(bytes(1 << 20))
    os.close(pipes[4])
    with pytest.raises(Hangup):
        stalled.write_aside(b"x")


def test_what_is_left_is_drained_up_to_a_bound(pipes: list[int]) -> None:
    os.write(pipes[1], bytes(40_000))
    reader = wire(pipes)
    assert not reader.drain(10_000, 5.0)
    os.close(pipes[1])
    assert reader.drain(100_000, 5.0)


HANG_UP = """
import os, signal
from paas.receive.wire import Hangup, hang_up_on_signal, waiting
hang_up_on_signal()
seen = []
os.kill(os.getpid(), signal.SIGHUP)
seen.append("a clean-up goes on")
try:
    with waiting():
        seen.append("never")
except Hangup:
    seen.append("then the next wait ends")
print("; ".join(seen))
"""


def test_a_hang_up_interrupts_only_where_the_process_waits() -> None:
    before = signal.getsignal(signal.SIGHUP)
    done = subprocess.run([sys.executable, "-P", "-c", HANG_UP], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "a clean-up goes on; then the next wait ends"
    assert signal.getsignal(signal.SIGHUP) is before, "not in this process"
