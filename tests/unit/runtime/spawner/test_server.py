"""The spawner's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.spawner.server import Options, StartError


def test_the_command_line_is_read() -> None:
    options = Options.parse(
        ["--home", "/h", "--stacks", "/s", "--allow-bind", "/a", "--allow-bind", "/b", "--user", "u"]
    )
    assert options == Options(Path("/h"), Path("/s"), (Path("/a"), Path("/b")), "u")


@pytest.mark.parametrize(
    "words",
    [[], ["--home", "/h"], ["--home", "/h", "--stacks"], ["--home", "/h", "--stacks", "/s", "--x", "1"]],
)
def test_a_wrong_command_line_is_refused(words: list[str]) -> None:
    with pytest.raises(StartError):
        Options.parse(words)
