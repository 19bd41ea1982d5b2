from __future__ import annotations

import tomllib
from typing import Any

import pytest

from buildpacks.plan import BuildRefused
from buildpacks.uvlocks import check_lock

LOCK = tomllib.loads("""
requires-python = ">=3.11, <4"
[[package]]
name = "x"
source = { virtual = "." }
[package.metadata]
requires-dist = [
    { name = "certifi", specifier = ">=2020.1.2" },
    { name = "redis", extras = ["hiredis"], specifier = ">=5,<8.0" },
    { name = "six", marker = "python_full_version >= '3.1'", specifier = ">=1.0.0,!=1.5" },
    { name = "six", marker = "extra == 'dev'", specifier = ">=1.4" },
    { name = "lib", editable = "lib" },
]
""")
"""As uv wrote it from these requirements."""
WANTED = [
    "redis[Hiredis] <8.0, >= 5",
    "certifi (>=2020.01.02)",
    "six>=1.0.0,!=1.5; python_version>'3'",
    "lib>=2",
]


def project(python: str = "~=3.11", **changed: str) -> dict[str, Any]:
    wanted = [changed.get(text.split("[")[0].split(" ")[0], text) for text in WANTED]
    return {"project": {"name": "X", "requires-python": python, "dependencies": wanted}}


@pytest.mark.parametrize(
    "data",
    [
        project(),
        project(">=3.11.0,<4.0"),
        project(">=3.11"),
        project(">=3.12,!=3.12.3"),
        project(redis="redis @ https://example.com/redis.zip"),
        project(certifi="certifi>=2021rc1"),
        {**project(certifi="certifi"), "tool": {"uv": {"sources": {"Certifi": {"git": "x"}}}}},
        {**project(">=3.12"), "tool": {"uv": {"workspace": {}}}},
    ],
)
def test_a_lock_that_fits_or_cannot_be_compared_is_taken(data: dict[str, Any]) -> None:
    check_lock(data, LOCK)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (project(redis="redis[hiredis]>=99"), "different: redis"),
        (project(redis="redis[hiredis]<6"), "different: redis"),
        (project(redis="redis>=5,<8"), "different: redis"),
        (project(certifi="certifi"), "different: certifi"),
        (project(certifi="flask"), "different: certifi, flask"),
        (project(">=3.12,<4"), 'requires-python was >=3.11, <4 and is >=3.12,<4'),
    ],
)  # fmt: skip
def test_a_lock_made_from_other_versions_or_extras_is_refused(data: dict[str, Any], said: str) -> None:
    with pytest.raises(BuildRefused, match=r"uv\.lock does not fit pyproject\.toml") as caught:
        check_lock(data, LOCK)
    assert said in str(caught.value)
    assert caught.value.hint == "Run uv lock and commit the result."
