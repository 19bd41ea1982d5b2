"""The client of registries against Debian's docker-registry."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from cryptography.hazmat.primitives import serialization
from harness.certificates import authority
from harness.registry import PASSWORD, USER, RunningRegistry, running

from runtime.image.distribution import GZIP_LAYER, Blob, Manifest, parse_reference
from runtime.image.errors import RegistryError
from runtime.image.ocilayout import CONFIG, INDEX, MANIFEST
from runtime.image.reach import Patience, Reach
from runtime.image.registry import Login, Registry

LOGIN = Login(USER, PASSWORD)


@pytest.fixture(scope="module", params=["", "basic", "token"])
def served(request: pytest.FixtureRequest) -> Iterator[RunningRegistry]:
    with running(request.param) as registry:
        yield registry


def client(served: RunningRegistry, name: str, login: Login | None = LOGIN, chunk: int = 1 << 20) -> Registry:
    return Registry(
        parse_reference(served.reference(name)),
        reach=Reach([ip_network("127.0.0.0/8")], ssl.create_default_context(cadata=_root())),
        patience=Patience(time.monotonic() + 60),
        login=login,
        chunk_bytes=chunk,
    )


def _root() -> str:
    return authority()[0].public_bytes(serialization.Encoding.PEM).decode()


def blob_of(data: bytes, kind: str = GZIP_LAYER) -> Blob:
    return Blob(kind, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def pushed(registry: Registry, layer: bytes, tag: str = "v1") -> tuple[Blob, Blob, str]:
    """An image of one layer: its layer, config and the digest of its manifest."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}}).encode()
    blobs = blob_of(layer), blob_of(config, CONFIG)
    for blob, data in zip(blobs, (layer, config), strict=True):
        registry.upload(blob, io.BytesIO(data))
    return *blobs, registry.write_manifest(tag, Manifest(blobs[1], (blobs[0],)).encoded())


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5 * (1 << 19)])
def test_a_blob_comes_back_as_it_was_sent_whole_or_in_pieces(served: RunningRegistry, size: int) -> None:
    registry, data = client(served, "team/blobs"), bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    blob = blob_of(data)
    assert not registry.has(blob)
    registry.upload(blob, io.BytesIO(data))
    assert registry.has(blob)
    read = io.BytesIO()
    registry.read_blob(blob, read.write)
    assert read.getvalue() == data


def test_an_image_is_found_by_tag_and_by_digest(served: RunningRegistry) -> None:
    registry = client(served, "hello")
    layer, config, digest = pushed(registry, b"a layer")
    for name in ("v1", digest):
        assert registry.read_manifest(name, "amd64") == (digest, Manifest(config, (layer,)))


def test_of_an_index_the_image_for_this_architecture_is_read(served: RunningRegistry) -> None:
    registry = client(served, "many")
    layer, config, digest = pushed(registry, b"for amd64", "amd64")
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}
        ],
    }  # fmt: skip
    data = json.dumps(index).encode()
    registry._ask(
        "PUT", f"{registry._base}/manifests/all", {"Content-Type": INDEX}, data, ok=(201,), push=True
    )
    assert registry.read_manifest("all", "amd64") == (digest, Manifest(config, (layer,)))
    with pytest.raises(RegistryError, match="no variant for linux/s390x"):
        registry.read_manifest("all", "s390x")


def test_a_blob_of_another_repository_is_taken_over_without_being_sent(served: RunningRegistry) -> None:
    first, second = client(served, "team/first"), client(served, "team/second")
    blob = blob_of(b"shared layer")
    first.upload(blob, io.BytesIO(b"shared layer"))
    assert second.mount(blob, "team/first") and second.has(blob)
    assert not second.mount(blob_of(b"nowhere"), "team/first")
    assert served.repositories(blob.digest) == ["team/first", "team/second"]


def test_what_is_not_there_is_named(served: RunningRegistry) -> None:
    with pytest.raises(RegistryError, match=r"has no 127\.0\.0\.1|has no http://127") as caught:
        client(served, "nothing").read_manifest("v1", "amd64")
    assert caught.value.status == 404


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize(
    ("login", "words"), [(None, "wants a login"), (Login(USER, "wrong-8d1f"), "does not take this login")]
)
def test_a_wrong_login_is_told_and_not_repeated(auth: str, login: Login | None, words: str) -> None:
    with running(auth) as served:
        with pytest.raises(RegistryError, match=words) as caught:
            pushed(client(served, "hello", login), b"a layer")
        assert caught.value.status == 401
        assert "8d1f" not in str(caught.value)
        assert len(served.log) == (1 if auth == "token" else 0)


def test_tls_is_spoken_to_those_whose_certificate_is_believed() -> None:
    with running(tls=True) as served:
        layer, config, digest = pushed(client(served, "hello"), b"a layer")
        assert client(served, "hello").read_manifest("v1", "amd64") == (digest, Manifest(config, (layer,)))
        stranger = Registry(
            parse_reference(served.reference("hello")),
            reach=Reach([ip_network("127.0.0.0/8")]),
            patience=Patience(time.monotonic() + 60),
        )
        with pytest.raises(RegistryError, match="certificate of localhost is not believed"):
            stranger.read_manifest("v1", "amd64")
