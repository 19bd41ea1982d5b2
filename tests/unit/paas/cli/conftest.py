"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.cli import Platform, Shell
from harness.flask_api import FlaskApi

from paas.cli import main


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    made.answers["GET /apps/hello"] = {"name": "hello", "processes": [{"quantity": 1, "stopped": False}]}
    for module in main.MODULES:
        imported = __import__(f"paas.cli.{module}", fromlist=["client"])
        if hasattr(imported, "client"):
            monkeypatch.setattr(imported, "client", lambda: made)
    monkeypatch.setenv("PAAS_APP", "hello")
    monkeypatch.delenv("PAAS_SSH_PROOF", raising=False)
    return made


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskApi]:
    """The api behind a socket, for a module's tests."""
    made = FlaskApi(tmp_path_factory.mktemp("home"))
    with made.served():
        yield made
    made.close()


@pytest.fixture
def paas(api: FlaskApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Commands to that api, without a git remote and without a login."""
    for name in ("PAAS_SSH_PROOF", "PAAS_APP", "PAAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PAAS_SOCKET", str(api.socket_path))
    return Shell(capsys, monkeypatch)


@pytest.fixture
def app(api: FlaskApi, paas: Shell, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new app, which the commands are about."""
    name: str = api.ask("POST", "/v1/apps", {}).json["name"]
    monkeypatch.setenv("PAAS_APP", name)
    return name
