"""What clients and registries say to each other, as values: references, challenges, manifests (OCI distribution-spec).

Pure. Everything here was written by strangers: it is bounded, and what breaks a rule is refused in one sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.image.errors import BadReference, RegistryError
from runtime.image.names import digest_hex
from runtime.image.ocilayout import CONFIG, INDEX, LAYER, MANIFEST

GZIP_LAYER = f"{LAYER}+gzip"
ZSTD_LAYER = f"{LAYER}+zstd"
_DOCKER = "application/vnd.docker"
_INDEXES = (INDEX, f"{_DOCKER}.distribution.manifest.list.v2+json")
_MANIFESTS = (MANIFEST, f"{_DOCKER}.distribution.manifest.v2+json")
ACCEPTED = ", ".join((*_MANIFESTS, *_INDEXES))

MAX_LAYERS = 256
MAX_BLOB = 8 * 1024**3
"""A compressed layer of the largest size that a layer may have is smaller."""
_MAX_REFERENCE = 600

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?"
)
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_CHALLENGE = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9-]*)(?:\s+(?=[^\s=,]+\s*=)|\s*(?=,|$))")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_DOCKER_HUB, DOCKER_HUB = "docker.io", "registry-1.docker.io"
"""Docker Hub as people write it, and the host that answers."""


@dataclass(frozen=True)
class Reference:
    """`https://host:port/repository:tag` or `…@digest`; one of `tag` and `digest` is empty. `plain` is http."""

    host: str
    port: int
    repository: str
    tag: str
    digest: str
    plain: bool = False

    @property
    def name(self) -> str:
        """What the manifest is called in requests."""
        return self.digest or self.tag

    @property
    def registry(self) -> str:
        """Host and port, the port if it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (80 if self.plain else 443) else f"{host}:{self.port}"

    def __str__(self) -> str:
        end = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{'http://' if self.plain else ''}{self.registry}/{self.repository}{end}"


def parse_reference(text: str) -> Reference:
    """A reference as people write it: a name without a host is Docker Hub's, one without a tag is `latest`.

    `http://` before it asks for no TLS. Raises BadReference.

    >>> str(parse_reference("registry.example:5000/team/hello:v7"))
    'registry.example:5000/team/hello:v7'
    >>> str(parse_reference("hello"))
    'registry-1.docker.io/library/hello:latest'
    """
    if len(text) > _MAX_REFERENCE:
        raise BadReference(f"a reference of {len(text)} characters, more than {_MAX_REFERENCE}")
    scheme, rest = match.groups() if (match := _SCHEME.fullmatch(text)) else ("https", text)
    if scheme not in ("http", "https"):
        raise BadReference(f"{_shown(text)} begins with {scheme}://, which no registry speaks")
    rest, _, digest = rest.partition("@")
    first, slash, path = rest.partition("/")
    if not slash or not (set(first) & set(".:[") or first == "localhost"):
        first, path = _DOCKER_HUB, rest if slash else f"library/{rest}"
    path, colon, tag = path.partition(":")
    if first == _DOCKER_HUB:
        first, path = DOCKER_HUB, path if "/" in path else f"library/{path}"
    _check(text, first, path, tag if colon else None, digest if "@" in text else None)
    host, port = _divided(first, 80 if scheme == "http" else 443)
    if not 0 < port < 65536:
        raise BadReference(f"{_shown(text)} names port {port}")
    return Reference(host, port, path, "" if digest else tag or "latest", digest, scheme == "http")


def mirrored(reference: Reference, mirror: str) -> Reference:
    """The same image at the operator's mirror of Docker Hub (`HOST[:PORT][/PREFIX]`), if there is one and it is Docker Hub's.

    >>> str(mirrored(parse_reference("hello"), "mirror.example.com"))
    'mirror.example.com/library/hello:latest'
    """
    if not mirror or reference.host != DOCKER_HUB:
        return reference
    there = parse_reference(f"{mirror.rstrip('/')}/{reference.repository}")
    return replace(there, tag=reference.tag, digest=reference.digest)


def _check(text: str, host: str, path: str, tag: str | None, digest: str | None) -> None:
    if not _HOST.fullmatch(host):
        raise BadReference(f"{_shown(text)} names no host that could be a registry's")
    if len(path) > 255 or not all(_PART.fullmatch(part) for part in path.split("/")):
        raise BadReference(f"{_shown(text)} is not HOST/REPOSITORY:TAG with lower-case letters and digits")
    if tag is not None and not _TAG.fullmatch(tag):
        raise BadReference(f"{_shown(text)} has a tag that is not made of letters, digits, '.', '_' and '-'")
    if digest is not None:
        try:
            digest_hex(digest)
        except ValueError as error:
            raise BadReference(str(error)) from None


def _divided(authority: str, usual: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, str(usual)
    return host.strip("[]").lower(), int(port)


def _shown(text: str) -> str:
    return ascii(text[:100])


def parse_challenges(header: str) -> dict[str, dict[str, str]]:
    """`WWW-Authenticate` (RFC 9110, section 11.6.1) as scheme → parameters, both in lower case.

    >>> parse_challenges('Bearer realm="https://auth.example/token",service="reg"')
    {'bearer': {'realm': 'https://auth.example/token', 'service': 'reg'}}
    """
    found: dict[str, dict[str, str]] = {}
    position = 0
    header = header[:8192]
    while (match := _CHALLENGE.match(header, position)) and match.end() > position:
        position = match.end()
        parameters = found.setdefault(match[1].lower(), {})
        while match := _PARAMETER.match(header, position):
            position = match.end()
            value = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
            parameters[match[1].lower()] = value
    return found


@dataclass(frozen=True)
class Blob:
    """A descriptor (image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int

    def to_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Manifest:
    """The image of one platform: its config and its layers, lowest first."""

    config: Blob
    layers: tuple[Blob, ...]

    def encoded(self) -> bytes:
        value = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def config_blob(digest: str, size: int) -> Blob:
    return Blob(CONFIG, digest, size)


def parse_manifest(data: bytes, architecture: str) -> Manifest | str:
    """A manifest, or of an index the digest of the one for linux and `architecture`. Raises RegistryError."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise RegistryError("the image's manifest is not JSON") from None
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise RegistryError("the image's manifest is not of version 2")
    if isinstance(value.get("manifests"), list):
        return chosen(value["manifests"], architecture)
    layers = value.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise RegistryError(f"the image's manifest is without layers, or has more than {MAX_LAYERS}")
    return Manifest(_blob(value.get("config")), tuple(_blob(layer) for layer in layers))


def chosen(manifests: list[Any], architecture: str, name: str = "") -> str:
    """The digest of the one entry of an index that is for linux and `architecture`, or that does not say for what.

    With `name` only entries of that name are looked at. Raises RegistryError.
    """
    found = [item for item in manifests if isinstance(item, dict)]
    if name:
        said = ((item, item.get("annotations")) for item in found)
        found = [item for item, notes in said if isinstance(notes, dict) and name in notes.values()]
    wanted = ("linux", architecture)
    fitting = [item for item in found if wanted == _platform(item)] or [
        item for item in found if _platform(item) == ("", "")
    ]
    if not fitting:
        raise RegistryError(f"the image has no variant for linux/{architecture}")
    return _blob(fitting[0]).digest


def _platform(item: dict[str, Any]) -> tuple[str, str]:
    platform = item.get("platform")
    return (
        (str(platform.get("os")), str(platform.get("architecture")))
        if isinstance(platform, dict)
        else ("", "")
    )


def _blob(value: Any) -> Blob:
    value = value if isinstance(value, dict) else {}
    kind, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if (
        not isinstance(kind, str)
        or not isinstance(digest, str)
        or type(size) is not int
        or not 0 <= size <= MAX_BLOB
    ):
        raise RegistryError("the image's manifest has a descriptor that is none, or too large")
    try:
        digest_hex(digest)
    except ValueError as error:
        raise RegistryError(f"in the image's manifest {error}") from None
    return Blob(kind[:200], digest, size)


def parse_errors(data: bytes, secrets: Sequence[str] = ()) -> str:
    """What a registry gives as the cause of a refusal, as one printable line without the secrets; empty if it says nothing."""
    try:
        first = json.loads(data)["errors"][0]
        text = f"{first.get('code', '')}: {first.get('message', '')}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""
    for secret in filter(None, secrets):
        text = text.replace(secret, "•••")
    return re.sub(r"[^ -~•]", "?", text[:200])
