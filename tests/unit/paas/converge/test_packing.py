"""Which layers are compressed ahead: those of apps that were pushed to a registry before."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.nouns import make_image

from paas.converge.packing import Packing, due
from paas.store import Store
from runtime.home import Layout

PUSHED = make_image(digest="sha256:old", layers=("stack", "deps", "one"))


@pytest.mark.parametrize(
    ("notes", "layers"),
    [
        ({"stack", "deps", "one"}, ["two"]),
        ({"stack", "deps"}, []),
        ({"stack", "deps", "one", "two"}, []),
        (set(), []),
    ],
)
def test_what_a_push_would_compress_is_due_once_another_image_was_pushed(
    notes: set[str], layers: list[str]
) -> None:
    serving = make_image(digest="sha256:new", layers=("stack", "deps", "two"))
    assert due(serving, [serving, PUSHED], notes.__contains__) == layers


def test_the_first_image_of_an_app_is_not_packed() -> None:
    assert due(PUSHED, [PUSHED], {"stack", "deps"}.__contains__) == []


def test_a_layer_that_failed_is_not_tried_at_each_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "db")
    packing = Packing(store, Layout(tmp_path, tmp_path, "0a1b2c"))
    monkeypatch.setattr(packing, "_due", lambda kind: ["sha256:" + "f" * 64] if kind == "gzip" else [])
    packing.step()
    process = packing._process
    assert process is not None
    process.wait()
    packing.step()
    assert packing._process is None
