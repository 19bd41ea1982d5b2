"""Descriptors and timers call back, until they are forgotten."""

from __future__ import annotations

import os
import select

from runtime.spawner.loop import Loop


def test_timers_run_in_order() -> None:
    loop, calls = Loop(), []
    loop.after(0.01, lambda: calls.append("second"))
    loop.after(0.0, lambda: calls.append("first"))
    while len(calls) < 2:
        loop.turn()
    assert calls == ["first", "second"]


def test_a_descriptor_is_called_back_until_it_is_forgotten() -> None:
    loop, calls = Loop(), []
    read, write = os.pipe()
    loop.watch(read, calls.append)
    os.write(write, b"x")
    loop.turn()
    loop.turn()
    loop.forget(read)
    loop.forget(read)
    loop.after(0.0, lambda: calls.append(-1))
    loop.turn()
    assert calls == [select.EPOLLIN, select.EPOLLIN, -1]
    os.close(read)
    os.close(write)
