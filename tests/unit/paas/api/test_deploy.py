"""Archives in the body of a request: their bound, and what of them stays."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from harness.flask_api import FlaskApi


@pytest.fixture(autouse=True)
def sources(api: FlaskApi) -> None:
    api.layout.sources.mkdir(exist_ok=True)
    api.context.settings = replace(api.settings, push_limit_bytes=100_000)


def test_an_archive_above_the_bound_is_refused_whatever_its_head_says(api: FlaskApi, name: str) -> None:
    path = f"/v1/apps/{name}/deploy/archive"
    for headers in ({}, {"Content-Length": str(1 << 40)}):
        answer = api.ask("POST", path, os.urandom(100_001), headers=headers)
        assert answer.status == 422
        error = answer.json["error"]
        assert "larger than 97.7 KiB" in error["message"] and "push_limit_bytes" in error["hint"]
    assert list(api.layout.sources.iterdir()) == []


def test_what_is_no_archive_is_refused_in_the_stream(api: FlaskApi, name: str) -> None:
    answer = api.ask("POST", f"/v1/apps/{name}/deploy/archive?name=a%0Ab", os.urandom(2_000))
    assert answer.status == 200 and b"no archive that can be read" in answer.body
    assert list(api.layout.sources.iterdir()) == []
    assert api.ask("GET", f"/v1/apps/{name}/builds").json["builds"] == []


def test_an_unknown_parameter_is_refused(api: FlaskApi, name: str) -> None:
    assert api.ask("POST", f"/v1/apps/{name}/deploy/archive?commit=1", b"x").status == 422
