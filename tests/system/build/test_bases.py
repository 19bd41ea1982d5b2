"""Dockerfiles over images from elsewhere: pulled with a login, from an archive in the repository, again when a tag moves."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.builder import BuildPlatform, build_platform
from harness.foreign import Layout, run
from harness.registry import PASSWORD, USER, RunningRegistry, running

from paas.nouns.errors import BuildFailed
from paas.nouns.model import Image

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def platform(registry: RunningRegistry) -> Iterator[BuildPlatform]:
    """One whose operator allows registries on loopback, and has Docker Hub's images in one."""
    flags = {"private_registries": ["127.0.0.0/8"], "docker_hub_mirror": f"http://{registry.host}"}
    with build_platform(**flags) as made:
        yield made


@pytest.fixture(scope="module")
def registry() -> Iterator[RunningRegistry]:
    with running("basic") as made:
        yield made


def login(registry: RunningRegistry) -> dict[str, str]:
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {f"http://{registry.host}/v2/": {"auth": pair}}})}


def layout(folder: Path, said: str) -> Layout:
    """An image of busybox whose users, variables and ONBUILD are its own."""
    folder.mkdir()
    made = Layout(folder)
    made.layer(etc__passwd=f"keeper:x:77:88::/home/keeper:/bin/sh\n{said}:x:5:5::/:/bin/sh\n", srv__said=said)
    made.config("--config.env", f"SAID={said}", "--config.env", "PATH=/bin", "--config.workingdir", "/srv")
    made.config("--config.user", "keeper", "--config.entrypoint", "/bin/sh", "--config.cmd", "/srv/start")
    made.config("--config.exposedports", "8088/tcp")
    return made


def content(platform: BuildPlatform, image: Image, path: str) -> Path:
    for digest in reversed(image.layers):
        found = platform.layout.layers / digest.removeprefix("sha256:") / path
        if found.exists():
            return found
    raise FileNotFoundError(path)


def test_an_image_of_a_registry_hands_on_what_it_says_and_a_moved_tag_builds_again(
    platform: BuildPlatform, registry: RunningRegistry, tmp_path: Path
) -> None:
    first = layout(tmp_path / "one", "first").copy(registry, "team/base:v1")
    name = registry.reference("team/base:v1")
    files = {
        "Dockerfile": f"FROM {name} AS made\nUSER 0\nRUN id -u >who && echo $SAID >>who && chown keeper who\n"
        f"FROM {name}\nCOPY --from=made --chown=keeper /srv/who new/\nCOPY --from={name} /srv/said /copied\n"
        "COPY start .\nRUN echo from busybox; touch /tmp/mine\n",
        "start": "exec sleep 1000\n",
    }
    app = platform.app("base")
    with pytest.raises(BuildFailed) as refused:
        platform.build(app, files)
    assert refused.value.message.startswith(f"Dockerfile line 1: the image {name} cannot be had: ")
    assert "paas config:set DOCKER_AUTH_CONFIG=" in refused.value.hint

    image = platform.build(app, files, config=login(registry))
    assert f"       {name} is {first}" in platform.lines
    assert content(platform, image, "srv/new/who").read_text() == "0\nfirst\n"
    assert content(platform, image, "srv/new/who").stat().st_uid == 77
    assert content(platform, image, "tmp/mine").stat().st_uid == 77
    assert content(platform, image, "copied").read_text() == "first"
    assert image.startup is not None
    assert image.startup.args == ("/bin/sh", "/srv/start")
    assert (image.startup.user, image.startup.group, image.startup.port) == (77, 88, 8088)
    assert image.env["SAID"] == "first" and "DOCKER_AUTH_CONFIG" not in image.env
    for digest in image.layers:
        blob = platform.layout.images / "blobs" / "sha256" / digest.removeprefix("sha256:")
        assert PASSWORD.encode() not in blob.read_bytes()

    assert platform.build(app, files, config=login(registry)).digest == image.digest
    assert not any("-----> RUN" in line and "reused" not in line for line in platform.lines)
    assert not any(
        "MB" in line or "kB" in line for line in platform.lines if line.startswith("       sha256")
    )

    second = layout(tmp_path / "two", "second").copy(registry, "team/base:v1")
    moved = platform.build(app, files, config=login(registry))
    assert f"       {name} is {second}" in platform.lines
    assert content(platform, moved, "srv/new/who").read_text() == "0\nsecond\n"

    files = {"Dockerfile": "FROM team/base:v1\nRUN echo $SAID >/tmp/said\n"}
    mirrored = platform.build(app, files, config=login(registry))
    assert content(platform, mirrored, "tmp/said").read_text() == "second\n"


def test_an_archive_in_the_repository_is_an_image_to_begin_with(
    platform: BuildPlatform, tmp_path: Path
) -> None:
    made = layout(tmp_path / "archive", "archived")
    run("skopeo", "copy", "-q", f"oci:{made.path}:v1", f"docker-archive:{tmp_path}/base.tar:base:1")
    files: dict[str, str | bytes] = {
        "Dockerfile": "FROM docker-archive:images/base.tar\nRUN echo $SAID >/tmp/said\n",
        "images/base.tar": (tmp_path / "base.tar").read_bytes(),
    }
    image = platform.build(platform.app("archived"), files)
    assert content(platform, image, "tmp/said").read_text() == "archived\n"
    files["Dockerfile"] = "FROM oci-archive:images/other.tar\nRUN true\n"
    with pytest.raises(BuildFailed, match=r"Dockerfile line 1: .*images/other.tar is not in the commit"):
        platform.build(platform.app("not-archived"), files)
