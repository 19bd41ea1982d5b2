"""Status lines."""

from __future__ import annotations

import pytest

from router.wire import response
from router.wire.heads import MAX_LINE_BYTES, BadHead


def test_a_status_line_is_no_longer_than_a_header_line() -> None:
    """They are remembered."""
    line = b"HTTP/1.1 200 " + b"x" * (MAX_LINE_BYTES - 13)
    assert response.parse_status_line(line).code == 200
    with pytest.raises(BadHead):
        response.parse_status_line(line + b"x")


def test_a_status_line_without_a_reason() -> None:
    assert response.parse_status_line(b"HTTP/1.1 200").code == 200
    assert response.parse_status_line(b"HTTP/1.1 200 ").code == 200
