"""The pipes of a worker."""

from __future__ import annotations

from router.io.pipes import MAX_PIPES, Pipes


def test_pipes_are_used_again_when_they_are_empty_only() -> None:
    pipes = Pipes()
    pipe = pipes.take()
    assert pipe is not None
    pipes.give(pipe)
    assert pipes.take() is pipe
    pipe.held = 1
    pipes.give(pipe)
    other = pipes.take()
    assert other is not pipe
    many = [pipes.take() for _ in range(MAX_PIPES)]
    assert many[-1] is None and many[-2] is not None
    for held in [other, *many[:-1]]:
        assert held is not None
        held.close()
