"""A bill of materials: the same for the same image, with addresses that others resolve."""

from __future__ import annotations

import json

import pytest

from paas.build.cyclonedx import bill, purl
from paas.build.packagefiles import Package

DEBIAN = Package("os", "debian", "12")


@pytest.mark.parametrize(
    ("package", "address"),
    [
        (
            Package("deb", "libstdc++6", "1:12.2-14+b1"),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2-14%2Bb1?distro=debian-12",
        ),
        (Package("pypi", "Flask_Login", "0.6.3"), "pkg:pypi/flask-login@0.6.3"),
        (Package("npm", "@a/b", "1.0.0"), "pkg:npm/%40a/b@1.0.0"),
        (Package("gem", "rack", "3.0.8"), "pkg:gem/rack@3.0.8"),
    ],
)
def test_the_address_of_a_package(package: Package, address: str) -> None:
    assert purl(package, DEBIAN) == address


def test_a_bill_is_json_and_says_the_same_in_any_order() -> None:
    words = {
        "name": "hello",
        "version": "v1",
        "digest": "sha256:" + "a" * 64,
        "created": "2026-01-01T00:00:00Z",
    }
    packages = [Package("npm", "ms", "2.1.3"), DEBIAN, Package("deb", "bash", "5")]
    made = bill(packages, **words, layers={"sha256:1": "Source"})
    assert made == bill(packages[::-1], **words, layers={"sha256:1": "Source"})
    assert json.loads(json.dumps(made)) == made
    assert [part["type"] for part in made["components"]] == ["operating-system", "library", "library"]
    assert made["metadata"]["properties"] == [{"name": "paas:layer", "value": "sha256:1 Source"}]
    references = [part["bom-ref"] for part in made["components"]]
    assert len(set(references)) == len(references)


def test_a_bill_follows_the_official_schema_and_its_addresses_are_addresses() -> None:
    schema = pytest.importorskip("cyclonedx.schema")  # of the extra `dev`, which older environments lack
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL

    digest = "sha512:" + "c" * 128
    packages = [
        DEBIAN, Package("deb", "libstdc++6", "1:12.2-14+b1"), Package("pypi", "Flask_Login", "0.6.3"),
        Package("pypi", "flask-login", "0.6.3", "sha256:" + "a" * 64), Package("npm", "@a/b", "1.0.0", digest),
        Package("golang", "example.org/a/v2", "v2.0.0+incompatible"), Package("golang", "stdlib", "1.27.3"),
        Package("maven", "org.example/low", "2.0"), Package("generic", "node", "24.1.0"),
        Package("composer", "monolog/monolog", "3.1"), Package("gem", "rack", "3.0.8"),
    ]  # fmt: skip
    made = bill(
        packages, name="hello", version="v1", digest="sha256:" + "b" * 64, created="2026-01-01T00:00:00Z",
        layers={"sha256:1": "Source"},
    )  # fmt: skip
    assert JsonStrictValidator(schema.SchemaVersion.V1_5).validate_str(json.dumps(made)) is None
    assert len(made["components"]) == len(packages) - 1
    for part in made["components"]:
        if part["type"] != "operating-system":
            address = PackageURL.from_string(part["purl"])
            name = f"{address.namespace}/{address.name}" if address.namespace else address.name
            assert (
                name.endswith(part["name"].replace("_", "-").lower()) and address.version == part["version"]
            )
    (scoped,) = [part for part in made["components"] if part["name"] == "@a/b"]
    assert scoped["hashes"] == [{"alg": "SHA-512", "content": "c" * 128}]
