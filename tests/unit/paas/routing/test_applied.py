"""Whether every router worker has applied an event."""

from __future__ import annotations

from pathlib import Path

import pytest

from paas.routing import applied
from runtime.home import Layout


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(Layout, "run", tmp_path)
    made = Layout(tmp_path, tmp_path, "0a0b0c")
    made.converge_socket.parent.mkdir()
    return made


def test_an_event_is_applied_once_converge_has_noted_it_or_a_later_one(layout: Layout) -> None:
    layout.converge_socket.touch()
    assert not applied.wait(layout, 1, timeout_s=0)
    applied.note(layout, 5)
    assert applied.wait(layout, 4, timeout_s=0)
    assert applied.wait(layout, 5, timeout_s=0)
    assert not applied.wait(layout, 6, timeout_s=0.02)


def test_without_converge_nothing_is_waited_for(layout: Layout) -> None:
    applied.note(layout, 5)
    assert not applied.wait(layout, 5, timeout_s=3600)


def test_a_note_that_is_no_number_says_nothing(layout: Layout) -> None:
    layout.converge_socket.touch()
    applied.note(layout, 5)
    layout.converge_socket.with_name("routed").write_text("")
    assert not applied.wait(layout, 1, timeout_s=0)
