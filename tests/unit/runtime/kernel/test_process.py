"""A process is named by pid, start time and boot."""

from __future__ import annotations

import os
import threading

from runtime.kernel.process import Identity, boot_id, identify, is_running, open_pidfd, this_process


def test_a_process_is_known_by_more_than_its_pid() -> None:
    boot = boot_id()
    me = identify(os.getpid(), boot)
    pidfd = open_pidfd(me, boot)
    assert pidfd is not None
    os.close(pidfd)
    assert open_pidfd(Identity(me.pid, me.start_ticks + 1, boot), boot) is None
    assert open_pidfd(Identity(me.pid, me.start_ticks, "another boot"), boot) is None


def test_a_reaped_process_is_gone() -> None:
    pid = os.fork()
    if pid == 0:
        threading.Event().wait()
    me = identify(pid, "b")
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert open_pidfd(me, "b") is None


def test_the_name_of_a_process_says_whether_it_still_runs() -> None:
    me = this_process()
    assert me.pid == os.getpid()
    assert is_running(str(me))
    assert not is_running(f"{me.boot_id} {me.pid} {me.start_ticks + 1}")
    assert not is_running(f"{'0' * 36} {me.pid} {me.start_ticks}")
    for nonsense in ("", "x", "a b c", "a b c d", f"{me.boot_id} 999999999 1"):
        assert not is_running(nonsense)
