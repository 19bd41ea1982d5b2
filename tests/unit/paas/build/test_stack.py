"""The progress of making a stack."""

from __future__ import annotations

from pathlib import Path

from paas.build.stack import GrowingFile


def test_a_growing_file_is_followed_from_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "stack.log"
    path.write_text("old\n")
    tail = GrowingFile(path)
    assert tail.lines() == []
    with path.open("a") as file:
        file.write("one\n\ntw")
    assert tail.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert tail.lines() == ["two"]
    assert GrowingFile(tmp_path / "none").lines() == []
