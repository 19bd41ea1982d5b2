"""What an api costs that has not built anything."""

from __future__ import annotations

import subprocess
import sys

_LOADED = """
import sys, paas.api.app
print(*(name for name in sys.modules if name.startswith(("buildpacks.detect", "paas.build.image", "paas.release.pipeline"))))
"""


def test_an_api_loads_builds_with_the_first_of_them() -> None:
    """They are a hundred modules, and each worker of the api would hold them."""
    done = subprocess.run([sys.executable, "-P", "-c", _LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
