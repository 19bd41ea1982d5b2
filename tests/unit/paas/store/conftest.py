from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paas.nouns.model import App
from paas.store import Store, apps


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "paas.db")
    yield store
    store.close()


@pytest.fixture
def app(store: Store) -> App:
    with store.write() as tx:
        return apps.create(tx, "hello", None)
