"""A commit's tree, and the links that leave it."""

from __future__ import annotations

import pytest

from paas.nouns.errors import BadInput
from paas.receive.export import leaves_tree, tree_of


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


def test_the_tree_of_a_commit() -> None:
    raw = b"tree %s\nparent %s\nauthor A <a@x.io> 1 +0000\n\ntree %s\n" % (b"1" * 40, b"2" * 40, b"3" * 40)
    assert tree_of(raw) == "1" * 40


@pytest.mark.parametrize("raw", [b"", b"tree short\n\nx", b"parent x\n\n"])
def test_commit_without_a_tree(raw: bytes) -> None:
    with pytest.raises(BadInput):
        tree_of(raw)
