from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from runtime.kernel import forked


def crash() -> None:
    raise ValueError("bad \x1b[2J news")


def leave() -> None:
    raise SystemExit(0)


def logged(action: Callable[[], int | None]) -> tuple[int, str]:
    """The status of a child that did this, and the log."""
    read, write = os.pipe()

    def child() -> int | None:
        forked.log_to(write)
        return action()

    pid = forked.fork("a test", child)
    os.close(write)
    with open(read) as log:
        said = log.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


@pytest.mark.parametrize(("answer", "status"), [(None, 0), (0, 0), (7, 7)])
def test_a_child_ends_with_what_its_function_returns(answer: int | None, status: int) -> None:
    assert logged(lambda: answer) == (status, "")


@pytest.mark.parametrize("action", [crash, leave])
def test_a_child_that_an_exception_ends_leaves_its_traceback_in_the_log(action: Callable[[], None]) -> None:
    status, said = logged(action)
    assert status == forked.CRASHED
    assert said.startswith("event=crashed process='a test'\nTraceback (most recent call last):\n")
    assert f"in {action.__name__}\n" in said and "\x1b" not in said
