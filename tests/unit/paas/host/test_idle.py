"""What an idle supervisor and an idle router worker hold in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("paas.host.server", ("paas.build.publish", "importlib.metadata", "email", "urllib.request")),
        ("router.__main__", ("html", "subprocess")),
    ],
)
def test_what_serves_once_is_loaded_elsewhere(module: str, unneeded: tuple[str, ...]) -> None:
    """A supervisor reads the machine's package settings once, a worker never compiles: megabytes each for nothing."""
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert set(unneeded).isdisjoint(done.stdout.split())
