"""What the pusher is told when a confined child ends badly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paas.nouns.errors import PaasError
from paas.receive.children import Finished
from paas.receive.export import Exported
from paas.receive.limits import Limits
from paas.receive.verdicts import answer_of, incomplete, unpack_error
from runtime.kernel.forked import CRASHED


def exported(finished: Finished) -> PaasError:
    with pytest.raises(PaasError) as error:
        answer_of(finished, Exported.from_json)
    return error.value


VERDICTS: list[Callable[[Finished], PaasError]] = [
    exported,
    incomplete,
    lambda finished: unpack_error(finished, Limits()),
]


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("status", [-9, -24])
def test_a_child_that_the_kernel_ended_took_too_much(
    verdict: Callable[[Finished], PaasError], status: int
) -> None:
    assert verdict(Finished(status, b"", b"")).cause == "too large"


def test_a_fault_of_ours_is_no_fault_of_the_commit() -> None:
    assert exported(Finished(CRASHED, b"", b"KeyError: 1")).message == "Internal error."
    assert exported(Finished(1, b"", b"fatal: odd")).cause == "unreadable"
