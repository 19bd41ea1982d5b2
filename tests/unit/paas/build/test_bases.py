"""Images that a Dockerfile names: logins, and what to do when one cannot be had."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from harness.sources import export

from paas.build.bases import BaseImages, read_logins
from paas.build.output import Output
from paas.build.source import SourceTree
from paas.nouns.errors import BuildFailed, Cancelled
from paas.nouns.settings import load


def images(folder: Path, cancelled: bool = False, **settings: str) -> BaseImages:
    loaded = load({"home": str(folder), "stacks": str(folder), **settings}, {}, None)
    place = cast(Any, type("Place", (), {})())
    place.settings = replace(loaded, id="0a0b0c")
    place.layout = place.settings.layout()
    tree = SourceTree.open(
        place.layout.sources, export({"f": "x", "package.json": "{}"}, place.layout.sources)
    )
    return BaseImages(place, cast(Any, None), tree, {}, Output(lambda line: None, lambda: cancelled))


def test_logins_are_those_of_dockers_own_file() -> None:
    def auth(text: str) -> dict[str, str]:
        return {"auth": base64.b64encode(text.encode()).decode()}

    auths = {
        "https://index.docker.io/v1/": auth("ann:a:b"),
        "Registry.example.com:5000": auth("bob:c"),
        "http://h/v2/": auth("x:"),
    }
    found = read_logins(json.dumps({"auths": auths, "credsStore": "x"}))
    assert {host: (login.username, login.password) for host, login in found.items()} == {
        "registry-1.docker.io": ("ann", "a:b"),
        "registry.example.com:5000": ("bob", "c"),
        "h": ("x", ""),
    }
    assert read_logins("") == read_logins('{"auths": {}}') == {}


@pytest.mark.parametrize(
    "text", ["x", "[]", "{}", '{"auths": {"h": {}}}', '{"auths": {"h": {"auth": "%"}}}', "[" * 9999]
)
def test_logins_that_cannot_be_read_are_refused_without_their_text(text: str) -> None:
    with pytest.raises(BuildFailed, match="DOCKER_AUTH_CONFIG is not as in Docker"):
        read_logins(text)


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("Bad Name", "names no host|is not HOST/REPOSITORY", "FROM debian-12"),
        ("http://10.0.0.1/x:1", "private network", "private_registries in paas.yml"),
        ("http://127.0.0.1:1/x", "cannot be reached: Connection refused", "commit the image as a file"),
        ("docker-archive:no.tar", "no.tar is not in the commit", "docker save"),
        ("docker-archive:f", "archive", "docker save"),
        ("python:3.11", "cannot be reached: Connection refused", "FROM debian-12, which has Python 3.11.*docker_hub_mirror"),
        ("node:20-alpine", "cannot be reached: Connection refused", "nodejs npm.*builds:set builder=node.*docker_hub_mirror"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_names_its_line_and_a_way(tmp_path: Path, name: str, said: str, hint: str) -> None:
    made = images(tmp_path, private_registries="127.0.0.1", docker_hub_mirror="http://127.0.0.1:1")
    with pytest.raises(BuildFailed, match=rf"^Dockerfile line 3: .*(?:{said})") as failed:
        made.find([(name, "Dockerfile line 3")])
    assert re.search(hint, failed.value.hint)


def test_a_build_that_was_cancelled_says_so(tmp_path: Path) -> None:
    made = images(tmp_path, cancelled=True, private_registries="127.0.0.1")
    with pytest.raises(Cancelled):
        made.find([("http://127.0.0.1:1/x", "Dockerfile line 1")])
