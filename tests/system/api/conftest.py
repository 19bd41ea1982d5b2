"""What the tests of the api daemon share, unless they say otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.api import Api


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """A daemon with one user, the administrator ann; nothing that a module does may crash in it."""
    running = Api().start()
    try:
        running.user("ann")
        yield running
        assert "Traceback" not in running.log.read_text()
    finally:
        running.close()


@pytest.fixture
def name(api: Api) -> str:
    """A new app's name."""
    made: str = api.ask("POST", "/v1/apps", {}).json["name"]
    return made
