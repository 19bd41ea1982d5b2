"""How a build step ended, from its exit record."""

from __future__ import annotations

from typing import Any

import pytest

from paas.build.step import _cause


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        ({"status": 0, "oom_kills": 1}, ""),
        ({"status": 1, "oom_kills": 0}, "build command failed"),
        ({"status": 137, "signal": 9, "oom_kills": 1}, "out of memory"),
        ({"status": 137, "signal": 9, "oom_kills": 1, "wall_exceeded": True}, "build took too long"),
    ],
)
def test_the_exit_record_gives_the_cause(record: dict[str, Any], cause: str) -> None:
    assert _cause(record) == cause
