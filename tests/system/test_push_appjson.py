"""app.json at work: variables, formation, limits and health checks of a first release."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from harness.platform import Platform, commit


@pytest.fixture(scope="module")
def platform(stacks: str) -> Iterator[Platform]:
    """A platform that gives instances little time to become healthy."""
    running = Platform(boot_timeout_s="4")
    try:
        running.start()
        running.make_key()
        yield running
    finally:
        running.close()


MANIFEST = {
    "env": {
        "SECRET_KEY": {"generator": "secret"},
        "THEME": "light",
        "MINE": "theirs",
        "NEEDED": {"description": "somebody has to say it"},
    },
    "formation": {
        "web": {"quantity": 2, "memory": "128M", "cpu": 0.5},
        "worker": {"quantity": 1, "pids": 32},
    },
    "healthchecks": {"web": [{"type": "startup", "path": "/ready.txt"}]},
    "colour": "red",
}
FILES = {
    "Procfile": "web: exec python3 -m http.server $PORT\nworker: exec sleep 1000\n",
    "app.json": json.dumps(MANIFEST),
    "ready.txt": "ready\n",
}


def test_app_json_shapes_the_first_release_and_people_the_later_ones(platform: Platform) -> None:
    repository = platform.repository(FILES)
    refused = platform.push(repository, "shaped")
    assert refused.returncode == 1
    assert "not set: NEEDED" in refused.stdout
    platform.paas("config:set", "NEEDED=yes", "MINE=mine", "-a", "shaped")
    done = platform.push(repository, "shaped")
    assert done.returncode == 0, done.stdout
    assert "app.json: colour is not a known key" in done.stdout
    config = platform.json("config", "-a", "shaped")
    assert len(config["SECRET_KEY"]) == 64
    assert (config["THEME"], config["MINE"], config["NEEDED"]) == ("light", "mine", "yes")
    up = [item["name"] for item in platform.json("ps", "-a", "shaped")]
    assert sorted(up) == ["web.1", "web.2", "worker.1"]
    limits = platform.paas("limits", "-a", "shaped").stdout
    assert "memory=128M  cpu=0.5" in limits
    assert "pids=32" in limits
    platform.paas("scale", "web=1", "-a", "shaped")
    platform.paas("config:unset", "THEME", "-a", "shaped")
    commit(repository, "Change a file", **{"ready.txt": "still ready\n"})
    done = platform.push(repository, "shaped")
    assert done.returncode == 0, done.stdout
    again = platform.json("config", "-a", "shaped")
    assert again["SECRET_KEY"] == config["SECRET_KEY"]
    assert "THEME" not in again
    assert sorted(item["name"] for item in platform.json("ps", "-a", "shaped")) == ["web.1", "worker.1"]


def test_a_health_check_that_is_not_met_rejects_the_push(platform: Platform) -> None:
    manifest = {"healthchecks": {"web": [{"path": "/nowhere"}]}}
    files = {"Procfile": FILES["Procfile"], "app.json": json.dumps(manifest), "ready.txt": ""}
    platform.deploy({**files, "app.json": "{}"}, "unready")
    repository = platform.repository(files)
    done = platform.push(repository, "unready", "+main")
    assert done.returncode == 1
    assert "404" in done.stdout, done.stdout
    assert platform.get("unready", "/ready.txt").status == 200
