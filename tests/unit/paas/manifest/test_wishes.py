"""What a later push is told about an app.json whose values count at the first release only."""

from __future__ import annotations

import json

import pytest

from paas.manifest.appjson import AppManifest, parse_app_json
from paas.manifest.wishes import left_alone, left_unset


def manifest(**data: object) -> AppManifest:
    return parse_app_json(json.dumps(data).encode())


def formation(**web: object) -> AppManifest:
    return manifest(formation={"web": web})


@pytest.mark.parametrize(
    ("before", "now", "command"),
    [
        ({"memory": "256M"}, {"memory": "512M"}, "paas limits:set web memory=512M"),
        ({"quantity": 1}, {"quantity": 2}, "paas scale web=2"),
        ({"quantity": 1}, {"quantity": 1, "cpu": 0.5}, "paas limits:set web cpu=0.5"),
        ({}, {"quantity": 2, "memory": "64M"}, "paas limits:set web memory=64M, paas scale web=2"),
    ],
)
def test_a_changed_formation_is_told_with_the_command(
    before: dict[str, object], now: dict[str, object], command: str
) -> None:
    told = left_alone(formation(**now), formation(**before))
    assert told == [f"app.json: formation.web counts at the first release; now: {command}"]


def test_a_formation_that_stays_or_is_new_or_asks_for_less_is_not_told() -> None:
    same = formation(quantity=2, memory="256M")
    assert left_alone(same, same) == []
    assert left_alone(same, AppManifest()) == []
    assert left_alone(formation(), same) == []


def test_values_that_nobody_has_set_are_told_until_they_are() -> None:
    asks = manifest(env={"MODE": {"value": "fast"}})
    assert "paas config:set MODE=" in left_unset(asks, {})
    assert left_unset(asks, {"MODE": "slow"}) == ""
