"""What the tests of the command line share."""

from __future__ import annotations

import pytest
from harness.cli import Platform

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
