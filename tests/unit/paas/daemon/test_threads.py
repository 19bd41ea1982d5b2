from __future__ import annotations

import threading

import pytest

from paas.daemon import threads


def test_a_lasting_thread_goes_on_after_any_exception_and_the_log_has_its_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    errors: list[Exception] = [MemoryError("full"), RuntimeError("bug\n\x1b[31m")]

    def work() -> None:
        if errors:
            raise errors.pop()

    threads.keep("tester", work, again_s=0.0).join(20)
    assert errors == []
    logged = capfd.readouterr().err
    assert logged.count("event=crashed process='thread tester'") == logged.count("Traceback") == 2
    assert "MemoryError: full" in logged and "in work" in logged and "\x1b" not in logged


@pytest.mark.parametrize("fails", [False, True])
def test_what_follows_a_thread_follows_also_when_it_fails(
    fails: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    threads.start("tester", lambda: 1 // (not fails), then=ended.set).join(20)
    assert ended.is_set()
    assert ("ZeroDivisionError" in capfd.readouterr().err) == fails


def test_what_is_to_be_done_later_can_be_cancelled(capfd: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    kept = threads.later("kept", 0.01, lambda: done.append("kept"))
    threads.later("cancelled", 0.01, lambda: done.append("cancelled")).cancel()
    threads.later("broken", 0.0, lambda: done.index("x")).join(20)
    kept.join(20)
    assert done == ["kept"]
    assert "event=crashed process='thread broken'" in capfd.readouterr().err
