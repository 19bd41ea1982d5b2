"""The machine's forwarding setting is shared by its platforms."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.kernel.files import STAGED
from runtime.net import forwarding


@pytest.mark.parametrize("before", ["0", "1"])
def test_the_last_platform_puts_the_setting_back(tmp_path: Path, before: str) -> None:
    state, setting = tmp_path / "net", tmp_path / "ip_forward"
    setting.write_text(before)
    for name in ("aaaaaa", "bbbbbb", "aaaaaa"):
        forwarding.enable(name, state=state, setting=setting)
        assert setting.read_text() == "1"
    forwarding.release("aaaaaa", state=state, setting=setting)
    assert setting.read_text() == "1"
    (state / f"{STAGED}left by a crash").touch()
    forwarding.release("bbbbbb", state=state, setting=setting)
    assert setting.read_text() == before


def test_a_platform_that_needed_nothing_gives_nothing_back(tmp_path: Path) -> None:
    setting = tmp_path / "ip_forward"
    setting.write_text("0")
    forwarding.release("aaaaaa", state=tmp_path / "net", setting=setting)
    assert setting.read_text() == "0"
