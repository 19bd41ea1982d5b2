"""Apps that are a Procfile and what it runs."""

from __future__ import annotations

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
