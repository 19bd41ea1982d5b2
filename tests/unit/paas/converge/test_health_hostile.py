"""What an instance may answer to a health check to keep the loop busy, and what that costs: a bounded number of bytes."""

from __future__ import annotations

import pytest

from paas.converge.health import MAX_HEAD_BYTES, MAX_INTERIM, Answer, Check, judge

PIECE = 16384
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


def bytes_until_judged(answer: bytes) -> tuple[int, Answer | None]:
    """How much of an endless answer is read before it is judged."""
    received = b""
    while len(received) < 64 * MAX_HEAD_BYTES:
        received += (answer * (PIECE // len(answer) + 1))[:PIECE]
        verdict = judge(Check("http"), received)
        if verdict is not None:
            return len(received), verdict
    return len(received), None


@pytest.mark.parametrize(
    "answer", [INTERIM, b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a", b"x", b"\n"]
)
def test_an_endless_answer_is_judged_soon(answer: bytes) -> None:
    received, verdict = bytes_until_judged(answer)
    assert verdict is not None
    assert not verdict.healthy
    assert received <= MAX_HEAD_BYTES + PIECE


def test_some_interim_answers_are_waited_for() -> None:
    assert judge(Check("http"), INTERIM * MAX_INTERIM) is None
    final = judge(Check("http"), INTERIM * MAX_INTERIM + b"HTTP/1.1 200 OK\r\n\r\n")
    assert final == Answer(True, 200)
