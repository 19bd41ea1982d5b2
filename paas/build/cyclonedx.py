"""A bill of materials in CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/). Pure: the same image gives the same text."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from paas.build.packagefiles import Package, canonical


def bill(
    packages: Sequence[Package],
    *,
    name: str,
    version: str,
    digest: str,
    created: str,
    layers: Mapping[str, str],
) -> dict[str, Any]:
    """The bill of an app's image. `created` is RFC 3339; `layers` says of each digest what made it."""
    system = next((package for package in packages if package.kind == "os"), None)
    parts = {part["bom-ref"]: part for part in (_component(package, system) for package in packages)}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{name}:{version}@{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "component": {
                "type": "application",
                "bom-ref": digest,
                "name": name,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
            },
            "properties": [
                {"name": "paas:layer", "value": f"{layer} {made_by}"} for layer, made_by in layers.items()
            ],
        },
        "components": [parts[reference] for reference in sorted(parts)],
    }


def _component(package: Package, system: Package | None) -> dict[str, Any]:
    if package.kind == "os":
        reference = f"{package.name}-{package.version}"
        return {
            "type": "operating-system",
            "bom-ref": reference,
            "name": package.name,
            "version": package.version,
        }
    address = purl(package, system)
    algorithm, _, content = package.digest.partition(":")
    digests = [{"alg": algorithm.upper().replace("SHA", "SHA-"), "content": content}] if content else []
    return {
        "type": "platform" if package.kind == "generic" else "library",
        "bom-ref": address,
        "name": package.name,
        "version": package.version,
        "purl": address,
        **({"hashes": digests} if digests else {}),
    }


def purl(package: Package, system: Package | None = None) -> str:
    """The package URL (https://github.com/package-url/purl-spec).

    >>> purl(Package("npm", "@scope/a", "1.0.0"))
    'pkg:npm/%40scope/a@1.0.0'
    """
    name, namespace, qualifier = canonical(package.kind, package.name), "", ""
    if package.kind == "deb":
        namespace = f"{system.name if system else 'debian'}/"
        qualifier = f"?distro={quote(f'{system.name}-{system.version}', safe='')}" if system else ""
    path = "/".join(quote(part, safe="") for part in name.split("/"))
    return f"pkg:{package.kind}/{namespace}{path}@{quote(package.version, safe=':')}{qualifier}"
