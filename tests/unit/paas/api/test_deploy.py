"""Archives in the body of a request: their bound, and what of them stays."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from flask import Flask
from harness.flask_api import FlaskApi
from harness.rows import app_of

from paas.api import bodies
from paas.release.origin import RECEIVING


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


WAYS = ("deploy/archive", "image/archive?deploy=0")


@pytest.mark.parametrize("way", WAYS)
def test_an_owner_sends_two_bodies_at_once_and_no_third(api: FlaskApi, name: str, way: str) -> None:
    owner = app_of(api, name).owner_id
    with RECEIVING.one(owner), RECEIVING.one(owner):
        answer = api.ask("POST", f"/v1/apps/{name}/{way}", b"x" * 1024)
        assert (answer.status, answer.error["code"]) == (429, "too_many")
    assert api.ask("POST", f"/v1/apps/{name}/{way}", b"x" * 1024).status == 200


@pytest.mark.parametrize("way", WAYS)
def test_what_the_disk_has_no_room_for_is_refused(
    api: FlaskApi, name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "RESERVE_BYTES", 1 << 60)
    answer = api.ask("POST", f"/v1/apps/{name}/{way}", b"x" * 1024)
    assert answer.status == 503 and "no room" in answer.error["message"]
    assert list(api.layout.sources.iterdir()) == []


def test_room_is_looked_for_while_a_body_comes(
    api: FlaskApi, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(bodies, "_need_room", lambda folder, size: asked.append(size))
    api.ask("POST", f"/v1/apps/{name}/deploy/archive", b"x" * 1024)
    assert asked == [1024, 0]


def test_an_upload_that_never_ends_is_ended(
    api: FlaskApi, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "UPLOAD_S", -1.0)
    ours, theirs = socket.socketpair()  # its reading end is shut
    monkeypatch.setitem(api.as_root, "gunicorn.socket", ours)
    with ours, theirs:
        answer = api.ask("POST", f"/v1/apps/{name}/image/archive?deploy=0", b"x" * 1024)
    assert answer.status == 422 and answer.error["cause"] == "too slow"


def test_a_read_that_waits_for_its_client_ends_at_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    asked = Flask("x").test_request_context(environ_base={"gunicorn.socket": ours})
    with ours, theirs, asked, bodies.ended_after(0.01) as overdue:
        assert ours.recv(1) == b"" and overdue()
