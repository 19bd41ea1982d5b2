"""Those who wait for rows to change are woken by the loop, in whatever process they are."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from paas.daemon import wakeup
from paas.daemon.wakeup import Waiter, Waker
from runtime.home import Layout

LONG_S = 30.0


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    monkeypatch.setattr(Layout, "run", tmp_path)
    monkeypatch.setattr(wakeup, "LOOK_S", LONG_S)
    made = Layout(tmp_path, tmp_path, "0a0b0c")
    made.converge_socket.parent.mkdir()
    yield made


def never() -> bool:
    return False


def test_every_waiter_hears_of_a_change_that_came_before_it_waited(layout: Layout) -> None:
    waker = Waker(layout)
    with Waiter(layout) as one, Waiter(layout) as other:
        waker.wake()
        waker.wake()
        before = time.monotonic()
        one.wait(never)
        other.wait(never)
        assert time.monotonic() - before < LONG_S
    waker.close()


def test_a_waiter_is_woken_while_it_waits(layout: Layout) -> None:
    waker = Waker(layout)
    with Waiter(layout) as waiter:
        thread = threading.Thread(target=waiter.wait, args=(never,))
        thread.start()
        waker.wake()
        thread.join(LONG_S / 2)
        assert not thread.is_alive()
    waker.close()


def test_who_gives_up_waits_no_longer_and_who_has_given_up_waits_on(layout: Layout) -> None:
    Waker(layout).close()
    answers = iter([False, False, True])
    with Waiter(layout) as waiter:
        before = time.monotonic()
        waiter.wait(lambda: next(answers))
        assert time.monotonic() - before < LONG_S
        thread = threading.Thread(target=waiter.wait, args=(lambda: True,))
        thread.start()
        thread.join(3 * wakeup.CANCEL_LOOK_S)
        assert thread.is_alive(), "the end of what was cancelled is waited for like any other"
        waker = Waker(layout)
        waker.wake()
        thread.join(LONG_S / 2)
        waker.close()


def test_nothing_is_left_of_a_waiter_and_of_one_that_was_killed(layout: Layout) -> None:
    waker = Waker(layout)
    folder = layout.converge_socket.with_name("waiting")
    descriptors = len(os.listdir("/proc/self/fd"))
    with Waiter(layout):
        assert len(os.listdir(folder)) == 1
    assert os.listdir(folder) == []
    killed = Waiter(layout)
    killed.__enter__()
    assert killed._sock is not None
    killed._sock.close()
    waker.wake()
    assert os.listdir(folder) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
    waker.close()


def test_a_thousand_unread_wakes_hold_nobody_up(layout: Layout) -> None:
    waker = Waker(layout)
    with Waiter(layout) as waiter:
        for _ in range(1000):
            waker.wake()
        waiter.wait(never)
        assert waiter._sock is not None
        with pytest.raises(BlockingIOError):
            waiter._sock.recv(1)
    waker.close()


def test_only_the_control_plane_reaches_the_waiters(layout: Layout) -> None:
    Waker(layout).close()
    folder = layout.converge_socket.with_name("waiting")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_where_no_loop_has_run_yet_a_waiter_looks_more_often(layout: Layout) -> None:
    with Waiter(layout) as waiter:
        before = time.monotonic()
        waiter.wait(never)
        assert time.monotonic() - before < LONG_S
