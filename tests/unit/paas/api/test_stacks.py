"""Stacks over the api: who stands on which, and what an update refuses."""

from __future__ import annotations

import json

import pytest
from harness.flask_api import FlaskApi, OwnLayout
from harness.nouns import make_image
from harness.rows import app_of, deployed

from paas.store import images

RUN, OLD, OWN = ("sha256:" + letter * 64 for letter in "abc")


@pytest.fixture(scope="module", autouse=True)
def stacks(api: FlaskApi, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder of stacks of its own, in which RUN is the newest, and OLD was."""
    folder = tmp_path_factory.mktemp("stacks")
    api.layout = api.context.layout = OwnLayout(api.layout.home, folder, api.settings.id)
    (folder / "blobs/sha256").mkdir(parents=True)
    for digest in (RUN, OLD):
        (folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(bytes(1024))
        (folder / "layers" / digest.removeprefix("sha256:")).mkdir(parents=True)
    described = {"name": "debian-12", "run": [RUN], "build": [RUN], "created": "2026-11-28T01:02:03Z"}
    (folder / "debian-12.json").write_text(
        json.dumps(
            {**described, "size_bytes": 1, "packages": ["python3.11-minimal 3.11.2-6", "python3 3.11.2-1+b1"]}
        )
    )


@pytest.fixture
def served(api: FlaskApi, name: str) -> str:
    deployed(api, name, web="run")
    return name


def standing(api: FlaskApi, name: str, *layers: str) -> list[dict[str, object]]:
    image = make_image(app_id=app_of(api, name).id, digest="sha256:1", layers=layers)
    with api.store.write() as tx:
        images.add(tx, image)
    return [item for item in api.ask("GET", "/v1/stacks/apps").json["apps"] if item["name"] == name]


def test_an_app_stands_on_the_newest_stack_or_on_an_older_one(api: FlaskApi, served: str) -> None:
    shown = {"name": served, "stack": "debian-12", "release": 1}
    assert standing(api, served, RUN, OWN) == [{**shown, "current": True}]
    assert standing(api, served, OLD, OWN) == [{**shown, "current": False}]
    assert standing(api, served, OWN) == []


def test_an_app_that_cannot_be_rebased_is_told_and_stays(api: FlaskApi, served: str) -> None:
    standing(api, served, OLD, OWN)
    reply = api.ask("POST", "/v1/stacks/debian-12/update", {"build": False})
    (outcome,) = reply.end["result"]["apps"]
    assert (outcome["app"], outcome["release"]) == (served, None) and outcome["reason"]
    assert f"-----> Rebasing {served}".encode() in reply.body
    assert reply.end["result"]["created"] == "2026-11-28T01:02:03Z"


def test_only_a_stack_that_is_there_is_updated(api: FlaskApi) -> None:
    reply = api.ask("POST", "/v1/stacks/debian-99/update", {"build": True})
    assert reply.status == 404 and "no stack debian-99" in reply.error["message"]
    assert api.ask("POST", "/v1/stacks/debian-99/update", {}).status == 422
    assert api.ask("POST", "/v1/stacks/BAD/update", {"build": True}).status == 422


def test_a_stack_is_listed_with_its_pythons(api: FlaskApi) -> None:
    (found,) = api.ask("GET", "/v1/stacks").json["stacks"]
    assert (found["name"], found["pythons"]) == ("debian-12", ["3.11.2"])
