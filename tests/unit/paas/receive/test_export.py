"""Links that leave a tree."""

from __future__ import annotations

import pytest

from paas.receive.export import leaves_tree


@pytest.mark.parametrize(
    ("path", "target", "leaves"),
    [
        (b"a", b"b", False),
        (b"d/a", b"../b", False),
        (b"a", b"../b", True),
        (b"d/a", b"../../b", True),
        (b"a", b"/etc/passwd", True),
        (b"a", b"x/../../y", True),
        (b"a", b"./x//../y", False),
    ],
)
def test_links_that_leave_the_tree(path: bytes, target: bytes, leaves: bool) -> None:
    assert leaves_tree(path, target) is leaves
