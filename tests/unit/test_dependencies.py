"""What the program needs from elsewhere, as pyproject.toml says it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_a_dependency_has_a_lower_bound_and_an_upper_one(requirement: str) -> None:
    """Private members of some are overridden, and the next major version of any may change what is relied on."""
    assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+,<[0-9]+(?:\.[0-9]+)?", requirement)
