"""Apps that are a Procfile and what it runs."""

from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks import procfile_only


def test_a_procfile_at_the_top_is_enough() -> None:
    assert procfile_only.detect(DictTree({"Procfile": "web: ./run"})) == "Procfile"
    assert procfile_only.detect(DictTree({"run": "", "sub/Procfile": "web: ./run"})) is None


def test_nothing_is_installed_and_output_is_not_held_back() -> None:
    plan = procfile_only.plan(DictTree({"Procfile": "web: ./run"}))
    assert (plan.language, plan.steps, plan.default_processes) == ("Procfile-only", (), {})
    assert plan.env["PYTHONUNBUFFERED"] == "1"
    assert plan.notes[0].startswith("Nothing to install")


@pytest.mark.parametrize(
    ("files", "made"),
    [
        ({"Procfile": "web: ./server\n", "Makefile": ""}, "server"),
        ({"Procfile": "web: exec bin/server -p $PORT\n", "Makefile": ""}, "bin/server"),
        ({"Procfile": "web: ./run\n", "run": "", "Makefile": ""}, ""),
        ({"Procfile": "web: python3 server.py\n", "Makefile": ""}, ""),
        ({"Procfile": "web: /usr/bin/x\n", "Makefile": ""}, ""),
        ({"Procfile": "web: ./server\n"}, ""),
    ],
)
def test_make_builds_what_the_procfile_names_and_the_repository_lacks(
    files: dict[str, str], made: str
) -> None:
    plan = procfile_only.plan(DictTree(files))
    assert [step.script for step in plan.steps] == (["make\n"] if made else [])
    assert not made or plan.notes == (f"{made} is not in the repository: make builds it",)
