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
    assert "app.json: THEME is not set, values count at the first release" in done.stdout
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


def test_scripts_run_before_and_after_a_release_and_only_the_first_can_reject_it(platform: Platform) -> None:
    scripts = {
        "postdeploy": "echo once in $PAAS_RELEASE",
        "paas": {
            "predeploy": "echo before; test ! -e broken # refuses",
            "postdeploy": "echo finally; exit 3",
        },
    }
    files = {
        "Procfile": FILES["Procfile"] + "release: echo released\n",
        "app.json": json.dumps({"scripts": scripts, "stack": "heroku-24"}),
        "ready.txt": "",
    }
    repository = platform.repository(files)
    done = platform.push(repository, "scripted")
    assert done.returncode == 0, done.stdout
    order = ["before", "released", "Traffic switched to v1", "once in v1", "finally", "exited with status 3"]
    places = [done.stdout.index(words) for words in order]
    assert places == sorted(places), done.stdout
    assert "there is no stack heroku-24; the app is on debian-12" in done.stdout
    commit(repository, "Break", broken="")
    done = platform.push(repository, "scripted")
    assert done.returncode == 1
    assert "before" in done.stdout
    assert "       released" not in done.stdout
    (repository / "broken").unlink()
    commit(repository, "Mend")
    done = platform.push(repository, "scripted")
    assert done.returncode == 0, done.stdout
    assert "finally" in done.stdout
    assert "once" not in done.stdout


def test_a_first_push_that_fails_leaves_nothing_for_the_corrected_one(platform: Platform) -> None:
    broken = {"env": {"MODE": "broken"}, "formation": {"web": {"quantity": 2, "pids": 40}}}
    procfile = "release: test $MODE = good\nweb: exec python3 -m http.server $PORT\n"
    repository = platform.repository({"Procfile": procfile, "app.json": json.dumps(broken)})
    refused = platform.push(repository, "second-thought")
    assert refused.returncode == 1 and "release command" in refused.stdout, refused.stdout
    assert platform.json("config", "-a", "second-thought") == {}
    commit(repository, "Correct", **{"app.json": json.dumps({"env": {"MODE": "good"}})})
    done = platform.push(repository, "second-thought")
    assert done.returncode == 0, done.stdout
    assert platform.json("config", "-a", "second-thought") == {"MODE": "good"}
    assert [item["name"] for item in platform.json("ps", "-a", "second-thought")] == ["web.1"]
    platform.paas("limits:set", "web", "pids=50", "-a", "second-thought")
    platform.paas("rollback", "-a", "second-thought")
    assert "pids=256" in platform.paas("limits", "-a", "second-thought").stdout
