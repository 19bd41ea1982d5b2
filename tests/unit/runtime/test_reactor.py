"""Descriptors and timers call back, until they are forgotten."""

from __future__ import annotations

import os
import select

from runtime.reactor import Reactor


def test_timers_run_in_order() -> None:
    reactor, calls = Reactor(), []
    reactor.later(0.01, lambda: calls.append("second"))
    reactor.later(0.0, lambda: calls.append("first"))
    while len(calls) < 2:
        reactor.turn()
    assert calls == ["first", "second"]


def test_a_descriptor_is_called_back_until_it_is_forgotten() -> None:
    reactor, calls = Reactor(), []
    read, write = os.pipe()
    reactor.watch(read, calls.append)
    os.write(write, b"x")
    reactor.turn()
    reactor.turn()
    reactor.forget(read)
    reactor.forget(read)
    reactor.later(0.0, lambda: calls.append(-1))
    reactor.turn()
    assert calls == [select.EPOLLIN, select.EPOLLIN, -1]
    os.close(read)
    os.close(write)


def test_a_timer_is_cancelled_and_a_turn_has_its_bound() -> None:
    reactor, calls = Reactor(), []
    reactor.later(0.0, lambda: calls.append("dropped")).cancel()
    reactor.later(1000.0, lambda: calls.append("far"))
    reactor.turn(0.01)
    assert calls == []
    reactor.close()


def test_a_descriptor_whose_number_is_used_again_hears_nothing_of_its_predecessor() -> None:
    reactor, calls = Reactor(), []
    pipes = [os.pipe() for _ in range(2)]
    for read, write in pipes:
        os.write(write, b"x")

        def ready(_: int) -> None:
            for other, _end in pipes:
                reactor.forget(other)
                reactor.watch(other, lambda events: calls.append("early"))
            calls.append("once")

        reactor.watch(read, ready)
    reactor.turn()
    assert calls == ["once"]
    reactor.close()
    for ends in pipes:
        for end in ends:
            os.close(end)
