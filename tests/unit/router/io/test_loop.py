"""The event loop's clock: what is called, and when."""

from __future__ import annotations

from pathlib import Path

from harness.router import Rig

from router.io.loop import Loop
from router.report.access import FLUSH_S


def test_what_a_tick_or_a_due_call_asks_for_is_not_put_off() -> None:
    now = [0.0]
    due: list[float] = []
    loop = Loop(clock=lambda: now[0])
    loop.on_tick = lambda now: loop.within(0.25)
    loop.deadline_work = lambda: due.append(now[0])
    now[0] = 1.0
    assert loop.step(0) == 0.25
    now[0] = 1.25
    assert loop.step(0) == 0.75 and due == [1.0, 1.25]
    loop.deadline_work = lambda: loop.within(0.5)
    now[0] = 2.0
    loop.within(0)
    assert loop.step(0) == 0.25
    now[0] = 2.25
    assert loop.step(0) == 0.5
    loop.epoll.close()


def test_the_line_of_a_request_that_timed_out_is_written_as_soon_as_others(rig: Rig, tmp_path: Path) -> None:
    access = rig.shared.access
    access._folder = tmp_path
    rig.shared.loop.deadline_work = access.flush
    rig.client().send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    while not access.entries:
        rig.advance(1)
    rig.advance(FLUSH_S)
    assert b"code=H12" in (tmp_path / "a0.0.0.log").read_bytes()
    rig.shared.access.close()
