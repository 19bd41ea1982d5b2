"""What the tests of the api share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.flask_api import FlaskApi


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskApi]:
    made = FlaskApi(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@pytest.fixture
def name(api: FlaskApi) -> str:
    """A new app's name."""
    reply = api.ask("POST", "/v1/apps", {})
    assert reply.status == 201, reply.body
    made: str = reply.json["name"]
    return made
