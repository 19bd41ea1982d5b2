"""An image in a file: what `docker save` and OCI tools write is read, what is none is refused with a sentence."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

import pytest

from runtime.image.distribution import Blob, Manifest
from runtime.image.errors import BadArchive, Damaged, ImageError
from runtime.image.exchange import MAX_JSON
from runtime.image.imagearchive import MAX_MEMBERS, ImageArchive
from runtime.image.ocilayout import CONFIG, LAYER


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def path_of(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def tar(**members: bytes | str) -> io.BytesIO:
    """A tar; text is the target of a link. `__` in a name is a slash, `_json` at its end a dot and json."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name.replace("__", "/").replace("_json", ".json"))
            if isinstance(data, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, data
                archive.addfile(entry)
            else:
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    written.seek(0)
    return written


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


LOW, HIGH = b"low layer" * 300, b"high layer"
SETTINGS = encoded({"rootfs": {"diff_ids": [digest_of(LOW), digest_of(HIGH)]}})
MANIFEST = Manifest(
    Blob(CONFIG, digest_of(SETTINGS), len(SETTINGS)),
    tuple(Blob(LAYER, digest_of(data), len(data)) for data in (LOW, HIGH)),
)


def entry(data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": "x", "digest": digest_of(data), "size": len(data), **more}


def oci(*entries: dict[str, Any], **more: bytes) -> io.BytesIO:
    index = encoded({"schemaVersion": 2, "manifests": [*entries]})
    blobs = {path_of(data): data for data in (LOW, HIGH, SETTINGS, MANIFEST.encoded())}
    return tar(**{"index_json": index, **blobs, **more})


def read(archive: ImageArchive, blob: Blob) -> bytes:
    data = bytearray()
    archive.read_blob(blob, data.extend)
    return bytes(data)


def test_an_oci_archive_is_read_like_a_registry() -> None:
    archive = ImageArchive(oci(entry(MANIFEST.encoded())))
    digest, manifest = archive.read_manifest("", "amd64")
    assert (digest, manifest) == (digest_of(MANIFEST.encoded()), MANIFEST)
    assert [read(archive, blob) for blob in manifest.layers] == [LOW, HIGH]
    assert read(archive, manifest.config) == SETTINGS


def test_of_several_the_one_for_this_machine_or_of_this_name_is_taken() -> None:
    other = encoded({"schemaVersion": 2})
    named = {"annotations": {"org.opencontainers.image.ref.name": "v2"}}
    platforms = [{"platform": {"os": "linux", "architecture": name}} for name in ("arm64", "amd64")]
    wanted = MANIFEST.encoded()
    archive = ImageArchive(oci(entry(other, **platforms[0]), entry(wanted, **platforms[1])))
    assert archive.read_manifest("", "amd64")[1] == MANIFEST
    archive = ImageArchive(oci(entry(other), entry(wanted, **named)))
    assert archive.read_manifest("v2", "amd64")[1] == MANIFEST
    with pytest.raises(ImageError, match="no variant"):
        archive.read_manifest("v3", "amd64")


def docker(*images: dict[str, Any], **more: bytes | str) -> io.BytesIO:
    members = {"low__layer.tar": LOW, "high__layer.tar": HIGH, "config_json": SETTINGS}
    return tar(**{**members, "manifest_json": encoded(images), **more})


IMAGE = {"Config": "config.json", "RepoTags": ["a:v1"], "Layers": ["low/layer.tar", "high/layer.tar"]}


def test_what_docker_saves_is_read_with_the_digests_of_its_configuration() -> None:
    archive = ImageArchive(docker(IMAGE))
    digest, manifest = archive.read_manifest("", "amd64")
    assert manifest == MANIFEST and digest == digest_of(MANIFEST.encoded())
    assert [read(archive, blob) for blob in manifest.layers] == [LOW, HIGH]


def test_a_layer_may_be_a_link_to_another() -> None:
    archive = ImageArchive(docker({**IMAGE, "Layers": ["low/layer.tar", "again/layer.tar"]},
                                  again__layer="x", **{"again__layer.tar": "../high/layer.tar"}))  # fmt: skip
    assert read(archive, archive.read_manifest("a:v1", "amd64")[1].layers[1]) == HIGH


def test_a_link_leads_to_nothing_but_a_member() -> None:
    archive = ImageArchive(docker({**IMAGE, "Config": "out"}, out="/etc/passwd"))
    with pytest.raises(ImageError, match="has no 'out'"):
        archive.read_manifest("", "amd64")


@pytest.mark.parametrize(
    "images",
    [
        [], [IMAGE, IMAGE], ["x"], [{**IMAGE, "Config": "none"}], [{**IMAGE, "Layers": "x"}],
        [{**IMAGE, "Layers": ["low/layer.tar"]}], [{**IMAGE, "Layers": ["low/layer.tar", "none"]}],
        [{**IMAGE, "Config": "low/layer.tar"}],
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(images: list[Any]) -> None:
    with pytest.raises(ImageError):
        ImageArchive(docker(*images)).read_manifest("", "amd64")


def test_bytes_that_are_not_what_their_digest_says_are_damaged() -> None:
    archive = ImageArchive(oci(entry(MANIFEST.encoded()), **{path_of(LOW): b"other"}))
    manifest = archive.read_manifest("", "amd64")[1]
    with pytest.raises(Damaged):
        read(archive, manifest.layers[0])
    with pytest.raises(Damaged):
        ImageArchive(oci(entry(LOW), **{path_of(LOW): b"{}"})).read_manifest("", "amd64")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends before"), (b"BZh9" + b"x" * 600, "compressed with bzip2"), (b"x" * 1024, "not a ustar"),
        (tar(other=b"x").getvalue(), "holds no image"), (tar(index_json=b"[").getvalue(), "is not JSON"),
        (tar(index_json=b"{}").getvalue(), "no list of manifests"),
        (tar(index_json=b"x" * (5 << 20)).getvalue(), "larger than 4 MiB"),
    ],
)  # fmt: skip
def test_what_holds_no_image_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadArchive, match=said):
        ImageArchive(io.BytesIO(data)).read_manifest("", "amd64")


@pytest.mark.parametrize("tags", [5, {"a:v1": 1}, "a:v1", None])
def test_tags_that_are_no_list_name_nothing(tags: Any) -> None:
    with pytest.raises(BadArchive, match="holds 0 images called 'a:v1'"):
        ImageArchive(docker({**IMAGE, "RepoTags": tags})).read_manifest("a:v1", "amd64")


def test_half_a_character_is_no_json() -> None:
    with pytest.raises(BadArchive, match="is not JSON"):
        ImageArchive(tar(index_json=b'{"manifests": ["\\ud800"]}')).read_manifest("", "amd64")


def members(*entries: tarfile.TarInfo) -> io.BytesIO:
    blocks = b"".join(each.tobuf(tarfile.PAX_FORMAT) for each in entries)
    return io.BytesIO(blocks + bytes(1024))


def member(name: str, type: bytes = tarfile.DIRTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = type, target
    return entry


LONG = "/".join(["n" * 200] * 19)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (members(*[member("same")] * (MAX_MEMBERS + 1)), "more than 10000 members"),
        (members(member(f"{LONG}/{'n' * 190}")), "a path of 40.. bytes, more than 4000"),
        (
            members(member("a", tarfile.SYMTYPE, f"{LONG}/{'n' * 190}")),
            "a path of 40.. bytes, more than 4000",
        ),
        (members(*(member(f"{LONG}/{at}") for at in range(MAX_JSON // len(LONG) + 1))), "4 MiB of names"),
        (
            io.BytesIO(tarfile.TarInfo.create_pax_global_header({"comment": "x"}) * 17),
            "more than 16 extension",
        ),
    ],
    ids=["folders", "name", "target", "names", "headers"],
)
def test_what_would_be_kept_or_counted_for_ever_is_refused(file: io.BytesIO, said: str) -> None:
    with pytest.raises(BadArchive, match=said):
        ImageArchive(file)
