"""References, challenges, manifests and errors: what registries and people write, and what is refused of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.image.distribution import (
    MAX_BLOB,
    Manifest,
    chosen,
    parse_challenges,
    parse_errors,
    parse_manifest,
    parse_reference,
)
from runtime.image.errors import BadReference, RegistryError

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "name"),
    [
        ("hello", "registry-1.docker.io", "library/hello", "latest"),
        ("team/hello:v1", "registry-1.docker.io", "team/hello", "v1"),
        ("docker.io/hello", "registry-1.docker.io", "library/hello", "latest"),
        ("docker.io/team/hello", "registry-1.docker.io", "team/hello", "latest"),
        ("localhost/hello", "localhost", "hello", "latest"),
        ("Registry.Example/a/b/c", "registry.example", "a/b/c", "latest"),
        ("r.example:5000/a:1.2-x_Y", "r.example:5000", "a", "1.2-x_Y"),
        ("r.example:443/a", "r.example", "a", "latest"),
        ("[::1]:5000/a", "[::1]:5000", "a", "latest"),
        (f"r.example/a@{DIGEST}", "r.example", "a", DIGEST),
        (f"r.example/a:v1@{DIGEST}", "r.example", "a", DIGEST),
        ("https://r.example/a__b--c.d", "r.example", "a__b--c.d", "latest"),
        ("http://r.example/a", "r.example", "a", "latest"),
        ("http://r.example:443/a", "r.example:443", "a", "latest"),
    ],
)
def test_a_reference_is_read_as_people_mean_it(text: str, registry: str, repository: str, name: str) -> None:
    found = parse_reference(text)
    assert (found.registry, found.repository, found.name) == (registry, repository, name)
    assert found.plain == text.startswith("http://")
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "r.example/", "r.example/A", "r.example/a:", "r.example/a:-x", "r.example/a@sha256:12", "r.example/a@",
        "r.example/a/../b", "r.example/a//b", "r.example:99999/a", "r.example:0/a", "ftp://r.example/a", "user:pw@r.example/a",
        "r.exa mple/a", "r.example/a?b", "r.example/a#b", "r.example/a\r\nHost: x", "-r.example/a", "r.example/" + "a" * 256, "a" * 601,
        "[::1/a", "r.example/a:b:c",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(BadReference):
        parse_reference(text)


@given(st.text(max_size=100))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        found = parse_reference(text)
    except BadReference as error:
        assert str(error).isprintable()
    else:
        assert not set(found.repository + found.name + found.host) & set(" \r\n?#\0")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="x"', {"basic": {"realm": "x"}}),
        ('bearer Realm="https://a/t?x=1,2",service=reg', {"bearer": {"realm": "https://a/t?x=1,2", "service": "reg"}}),
        ('Basic realm="x", Bearer realm="y",scope="a:b:c,d"', {"basic": {"realm": "x"}, "bearer": {"realm": "y", "scope": "a:b:c,d"}}),
        (r'Basic realm="a\"b"', {"basic": {"realm": 'a"b'}}),
        ("Negotiate", {"negotiate": {}}),
        ("Negotiate, Basic realm=x", {"negotiate": {}, "basic": {"realm": "x"}}),
        ("", {}),
        ('="', {}),
    ],
)  # fmt: skip
def test_challenges_are_read_scheme_by_scheme(header: str, found: dict[str, dict[str, str]]) -> None:
    assert parse_challenges(header) == found


@given(st.text(max_size=300))
def test_any_header_ends(header: str) -> None:
    parse_challenges(header)


def manifest(**changes: Any) -> bytes:
    blob = {"mediaType": "x", "digest": DIGEST, "size": 1}
    return json.dumps({"schemaVersion": 2, "config": blob, "layers": [blob], **changes}).encode()


def test_a_manifest_is_the_same_after_it_was_written_and_read() -> None:
    found = parse_manifest(manifest(), "amd64")
    assert isinstance(found, Manifest) and parse_manifest(found.encoded(), "amd64") == found


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"[" * 100_000, manifest(schemaVersion=1), manifest(layers=None), manifest(config=None), manifest(layers=[1]),
        manifest(layers=[{}] * 257), manifest(manifests=[]), manifest(manifests=[{"platform": 1}, 2]),
        manifest(config={"mediaType": "x", "digest": "sha256:../x", "size": 1}),
        *(manifest(config={"mediaType": "x", "digest": DIGEST, "size": size}) for size in (-1, 1.5, True, "1", MAX_BLOB + 1)),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(RegistryError):
        parse_manifest(data, "amd64")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"errors": []}', b'{"errors": [1]}', b"[" * 100_000])
def test_a_refusal_without_words_says_nothing(data: bytes) -> None:
    assert parse_errors(data) == ""


def test_the_words_of_a_refusal_are_one_short_line() -> None:
    said = parse_errors(
        json.dumps({"errors": [{"code": "DENIED", "message": "no\x1b[2J\n" + "x" * 999}]}).encode()
    )
    assert said.startswith("DENIED: no?[2J?xxx") and len(said) == 200


@pytest.mark.parametrize("annotations", [["v1"], "v1", 5, {"x": ["v1"]}, {"x": {}}])
def test_annotations_of_another_kind_name_nothing(annotations: Any) -> None:
    with pytest.raises(RegistryError, match="no variant"):
        chosen([{"digest": DIGEST, "annotations": annotations}], "amd64", "v1")
