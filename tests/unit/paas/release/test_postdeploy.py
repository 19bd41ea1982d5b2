"""Which scripts of app.json run after a push."""

from __future__ import annotations

from paas.manifest.appjson import parse_app_json
from paas.release.postdeploy import scripts_of

SCRIPTS = parse_app_json(
    b'{"scripts": {"postdeploy": "seed", "paas": {"predeploy": "check", "postdeploy": "warm"}}}'
).scripts


def test_the_first_push_runs_both_scripts_and_a_later_one_only_its_own() -> None:
    assert scripts_of(SCRIPTS, first=True) == ["seed", "warm"]
    assert scripts_of(SCRIPTS, first=False) == ["warm"]


def test_an_app_without_scripts_runs_none() -> None:
    assert scripts_of({}, first=True) == []
