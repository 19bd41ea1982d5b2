"""Images of releases over the api: what is refused before anything is sent, and how much is sent at once."""

from __future__ import annotations

from typing import Any

import pytest
from harness.flask_api import FlaskApi
from harness.rows import app_of, deployed

from paas.api.limiter import ROOTS
from paas.nouns.model import Image
from paas.store import images
from runtime.image.ocilayout import ImageStore


@pytest.fixture
def path(api: FlaskApi, name: str) -> str:
    """The address of the image of an app whose release v1 has one without layers."""
    deployed(api, name, web="run")
    digest = ImageStore(api.layout.images, api.layout.stacks).write((), processes={"web": "run"})
    app = app_of(api, name)
    with api.store.write() as tx:
        images.add(tx, Image(app.id, digest, (), {}, {"web": "run"}, {}, "debian-12", 0))
        tx.execute("UPDATE release SET image_digest = ? WHERE app_id = ?", (digest, app.id))
    return f"/v1/apps/{name}/image"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'reference' is missing"),
        ({"reference": "A B"}, "is not HOST/REPOSITORY:TAG"),
        ({"reference": "ftp://r.example/a"}, "begins with ftp://"),
        ({"reference": "r.example/a@sha256:" + "a" * 64}, "under a tag, not a digest"),
        ({"reference": "r.example/a", "mount_from": "../x"}, "is not HOST/REPOSITORY:TAG"),
        ({"reference": "r.example/a", "release": "latest"}, "latest"),
        ({"reference": "r.example/a", "token": "x"}, "token"),
    ],
)
def test_what_cannot_be_pushed_is_refused_at_once(
    api: FlaskApi, path: str, body: dict[str, Any], message: str
) -> None:
    reply = api.ask("POST", f"{path}/push", body)
    assert reply.status == 422 and message in reply.error["message"], reply.body


@pytest.mark.parametrize(
    "body", [{}, {"reference": "a"}, {"deploy": True}, {"reference": "A B", "deploy": False}]
)
def test_what_cannot_be_pulled_is_refused_at_once(api: FlaskApi, path: str, body: dict[str, Any]) -> None:
    assert api.ask("POST", f"{path}/pull", body).status == 422


@pytest.mark.parametrize("way", ["push", "pull"])
@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/a", "localhost/a", "169.254.169.254/a", "[::1]/a"])
def test_the_machine_and_its_networks_are_out_of_reach(
    api: FlaskApi, path: str, reference: str, way: str
) -> None:
    login = {"username": "ann", "password": "canary-77"}
    more = {"deploy": True} if way == "pull" else {}
    reply = api.ask("POST", f"{path}/{way}", {"reference": reference, **login, **more})
    error = reply.end["error"]
    assert error["code"] == "registry_refused" and "address of the machine" in error["message"]
    assert "private_registries" in error["hint"]
    assert b"canary-77" not in reply.body


def test_an_image_that_is_not_there_is_told(api: FlaskApi, path: str, name: str) -> None:
    for rest in ("history?release=v9", "export?release=v9"):
        reply = api.ask("GET", f"{path}/{rest}")
        assert reply.status == 404 and reply.error["message"] == f"{name} has no release v9."
    made = api.ask("POST", "/v1/apps", {}).json["name"]
    reply = api.ask("GET", f"/v1/apps/{made}/image/history")
    assert (reply.status, reply.error["hint"]) == (404, "Push it first.")


def test_an_export_is_as_long_as_it_says(api: FlaskApi, path: str) -> None:
    reply = api.ask("GET", f"{path}/export")
    assert reply.status == 200 and len(reply.body) % 512 == 0
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    assert b"org.opencontainers.image.version" in reply.body


def test_an_export_that_cannot_begin_is_counted_no_longer(api: FlaskApi, path: str) -> None:
    for blob in (api.layout.images / "blobs" / "sha256").iterdir():
        blob.unlink()
    messages = {api.ask("GET", f"{path}/export").error["message"] for _ in range(ROOTS + 1)}
    assert len(messages) == 1 and "under way" not in messages.pop()


def test_an_archive_that_holds_no_image_is_refused(api: FlaskApi, path: str) -> None:
    api.layout.sources.mkdir()
    reply = api.ask("POST", f"{path}/archive?deploy=1", b"x" * 1024)
    assert reply.end["error"]["code"] == "bad_input" and "ot a ustar" in reply.end["error"]["message"]
