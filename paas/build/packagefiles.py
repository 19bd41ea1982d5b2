"""What package managers leave in an image, and what lock files say of it: a parser a file. Pure.

The bytes are a stranger's: a parser takes what it understands, and what it does not is no package.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import io
import json
import posixpath
import re
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

_WORD = re.compile(r"[!-~]{1,200}")
_DENO = re.compile(r"(@?[^@]+)@([^_]+)")
_LINE = re.compile(r"^(\w+)[ \t]*=[ \t]*(\S+)[ \t]*\r?$", re.M)
_PY_VERSION = re.compile(rb'^#define PY_VERSION[ \t]+"([0-9][0-9a-z.+]{0,30})"', re.M)
_CHECKSUM = re.compile(r"^  (\S+) \(([^()\s]+)\) sha256=([0-9a-f]{64})\r?$", re.M)
_YARN = re.compile(
    r'^"?(@?[^@"\s]+)@[^\n]+:\n  version "([^"\n]+)"\n(?:  resolved [^\n]+\n)?  integrity (\S+)$', re.M
)
_PNPM = re.compile(r"^  '?(@?[^@'\s]+)@([^:'()\s]+)'?:\n    resolution: \{integrity: ([^,}\s]+)", re.M)
_BUN = re.compile(r'^    "[^"\n]+": \["(@?[^@"\n]+)@([^"\n]+)".*"(sha512-[^"\n]+)"\],?$', re.M)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]\n]*\])?==([^\s;]+)")
_HASH = re.compile(r"--hash[= ](sha\d+:[0-9a-f]+)")
_HEX = {"sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}
_JAR_BYTES, _INNER_BYTES, _POM_BYTES, _MEMBERS = 64 << 20, 16 << 20, 1 << 16, 20_000
codecs.lookup("cp437")  # what zipfile decodes names with; a confined process finds no codec any more


class Package(NamedTuple):
    """`kind` is a purl type: deb, pypi, npm, gem, composer, golang, maven, generic; or `os` for the distribution.

    `digest` is of the archive that it was installed from, `sha512:HEX`; empty if nothing says it.
    """

    kind: str
    name: str
    version: str
    digest: str = ""


class Locked(NamedTuple):
    """What a lock says of a package: `file` is the archive's name, empty if there is only one."""

    kind: str
    name: str
    version: str
    file: str
    digest: str


class Built(NamedTuple):
    """The tags of the wheel that a Python package was installed from (PEP 425)."""

    name: str
    version: str
    tags: frozenset[str]


Record = Package | Locked | Built


def package(kind: str, name: object, version: object, digest: str = "") -> Iterator[Package]:
    """The package, if that is a name and a version."""
    if (
        isinstance(name, str)
        and isinstance(version, str)
        and _WORD.fullmatch(name)
        and _WORD.fullmatch(version)
    ):
        yield Package(kind, name, version, digest)


def _locked(kind: str, name: object, version: object, file: object, digest: str) -> Iterator[Locked]:
    if isinstance(name, str) and isinstance(version, str) and isinstance(file, str) and digest:
        yield Locked(kind, canonical(kind, name), version, file, digest)


def canonical(kind: str, name: str) -> str:
    """
    >>> canonical("pypi", "Flask_Login")
    'flask-login'
    """
    return re.sub(r"[-_.]+", "-", name).lower() if kind == "pypi" else name


def integrity(text: object) -> str:
    """`sha512-BASE64` (Subresource Integrity) or `h1:BASE64` (Go) as `sha512:HEX`; empty for anything else.

    >>> integrity("h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")[:12]
    'sha256:00000'
    """
    words = text.split() if isinstance(text, str) else []
    algorithm, _, value = words[0].replace("h1:", "sha256-").partition("-") if words else ("", "", "")
    try:
        return _digest(f"{algorithm}:{base64.b64decode(value, validate=True).hex()}")
    except (binascii.Error, ValueError):
        return ""


def _digest(text: object) -> str:
    algorithm, _, value = text.partition(":") if isinstance(text, str) else ("", "", "")
    good = len(value) == _HEX.get(algorithm, -1) and re.fullmatch("[0-9a-f]+", value)
    return f"{algorithm}:{value}" if good else ""


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# Debian


def _debian(data: bytes) -> Iterator[Record]:
    for paragraph in data.split(b"\n\n"):
        fields = {}
        for line in paragraph.split(b"\n"):
            name, colon, value = line.partition(b":")
            if colon and not line.startswith((b" ", b"\t")):
                fields[name] = text_of(value).strip()
        if fields.get(b"Status", "").endswith(" installed"):
            yield from package("deb", fields.get(b"Package", ""), fields.get(b"Version", ""))


def _release(data: bytes) -> Iterator[Record]:
    pairs = dict(line.split("=", 1) for line in text_of(data).splitlines() if "=" in line)
    yield from package("os", pairs.get("ID", "").strip('"'), pairs.get("VERSION_ID", "").strip('"'))


# languages


def _node(data: bytes) -> Iterator[Record]:
    found = json.loads(data)
    yield from package("npm", found["name"], found["version"])


def _npm_lock(data: bytes) -> Iterator[Record]:
    """What npm notes of its installation (package-lock.json, version 2 and 3)."""
    for path, item in json.loads(data)["packages"].items():
        name = item.get("name") or path.rpartition("node_modules/")[2]
        yield from _locked("npm", name, item.get("version"), "", integrity(item.get("integrity")))


def _node_lock(pattern: re.Pattern[str]) -> Callable[[bytes], Iterator[Record]]:
    """yarn.lock of yarn 1, pnpm-lock.yaml or bun.lock: each is written by its manager in one way."""

    def parse(data: bytes) -> Iterator[Record]:
        for name, version, checksum in pattern.findall(text_of(data)):
            yield from _locked("npm", name, version, "", integrity(checksum))

    return parse


def _deno(data: bytes) -> Iterator[Record]:
    """The npm packages of the lock, which Deno keeps under names of its own: `@scope/name@1.0.0_peer@2.0.0`."""
    for key, item in json.loads(data)["npm"].items():
        if match := _DENO.match(key):
            yield from package("npm", match[1], match[2], integrity(item.get("integrity")))


def _composer(data: bytes) -> Iterator[Record]:
    for item in json.loads(data)["packages"]:
        digest = _digest(f"sha1:{item.get('dist', {}).get('shasum', '')}")
        yield from package("composer", item["name"], item["version"], digest)


def _gems(data: bytes) -> Iterator[Record]:
    """The section CHECKSUMS of Gemfile.lock (Bundler 2.6)."""
    for name, version, value in _CHECKSUM.findall(text_of(data).partition("\nCHECKSUMS")[2]):
        yield from _locked("gem", name, version, "", f"sha256:{value}")


def _python(data: bytes) -> Iterator[Record]:
    """A Python that is no package of Debian (Include/patchlevel.h)."""
    if match := _PY_VERSION.search(data):
        yield from package("generic", "python", text_of(match[1]))


def _python_lock(data: bytes) -> Iterator[Record]:
    """uv.lock, poetry.lock, pdm.lock and pylock.toml: the files of each package."""
    found = tomllib.loads(text_of(data))
    for item in found.get("package") or found.get("packages") or []:
        for file in [*item.get("wheels", []), *item.get("files", [])]:
            path = file.get("file") or file.get("name") or file.get("url") or ""
            digest = file.get("hash") or f"sha256:{file.get('hashes', {}).get('sha256', '')}"
            name = posixpath.basename(path)
            yield from _locked("pypi", item.get("name"), item.get("version"), name, _digest(digest))


def _pipfile_lock(data: bytes) -> Iterator[Record]:
    """Pipfile.lock has digests without names of files: one alone is the package's."""
    for name, item in json.loads(data)["default"].items():
        if isinstance(item, dict) and len(item.get("hashes", [])) == 1:
            version = str(item.get("version", "")).removeprefix("==")
            yield from _locked("pypi", name, version, "", _digest(item["hashes"][0]))


def _requirements(data: bytes) -> Iterator[Record]:
    """requirements.txt: as in Pipfile.lock, one digest alone is the package's."""
    for line in text_of(data).replace("\\\n", " ").splitlines():
        digests = _HASH.findall(line)
        if len(digests) == 1 and (match := _REQUIREMENT.match(line)):
            yield from _locked("pypi", match[1], match[2], "", _digest(digests[0]))


def fits(file: str, tags: frozenset[str]) -> bool:
    """Whether a wheel of that name (PEP 427) has one of the tags.

    >>> fits("a-1-py2.py3-none-any.whl", frozenset({"py3-none-any"}))
    True
    """
    parts = file.removesuffix(".whl").rsplit("-", 3)[1:]
    if len(parts) != 3 or sum(part.count(".") for part in parts) > 30:
        return False
    python, abi, platform = (part.split(".") for part in parts)
    return any(f"{one}-{two}-{three}" in tags for one in python for two in abi for three in platform)


def _jar(data: bytes, depth: int = 0) -> Iterator[Record]:
    """What Maven and Gradle put into a jar about it, and about the jars in it (META-INF/maven/…/pom.properties)."""
    with zipfile.ZipFile(io.BytesIO(data)) as jar:
        for member in jar.infolist()[:_MEMBERS]:
            name = member.filename
            if name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
                with jar.open(member) as file:
                    pom = dict(_LINE.findall(text_of(file.read(_POM_BYTES))))
                group, artifact = pom.get("groupId", ""), pom.get("artifactId", "")
                yield from package("maven", f"{group}/{artifact}", pom.get("version"))
            elif name.endswith(".jar") and not depth and member.file_size <= _INNER_BYTES:
                with jar.open(member) as file:
                    yield from read(lambda inner: _jar(inner, 1), file.read(_INNER_BYTES))


Parser = Callable[[bytes], Iterator[Record]]


def read(parser: Parser, data: bytes) -> list[Record]:
    """What the parser finds, up to where it finds no sense."""
    found: list[Record] = []
    with suppress(
        ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError, OSError, RuntimeError,
        zipfile.BadZipFile, zlib.error,
    ):  # fmt: skip
        found.extend(parser(data))
    return found


_LOCK = 32 << 20
PARSERS: tuple[tuple[re.Pattern[bytes], int, Parser], ...] = tuple(
    (re.compile(pattern), most, parser)
    for pattern, most, parser in (
        (rb"var/lib/dpkg/status", 32 << 20, _debian),
        (rb"usr/lib/os-release", 1 << 16, _release),
        (rb"(?:.*/)?node_modules/(?:@[^/@]+/)?[^/@]+/package\.json", 1 << 20, _node),
        (rb"app/(?:node_modules/\.)?package-lock\.json", _LOCK, _npm_lock),
        (rb"app/yarn\.lock", _LOCK, _node_lock(_YARN)),
        (rb"app/pnpm-lock\.yaml", _LOCK, _node_lock(_PNPM)),
        (rb"app/bun\.lock", _LOCK, _node_lock(_BUN)),
        (rb"app/requirements\.txt", 1 << 20, _requirements),
        (rb"(?:.*/)?vendor/composer/installed\.json", _LOCK, _composer),
        (rb"app/deno\.lock", _LOCK, _deno),
        (rb"(?!usr/include/)(?:.*/)?include/python3\.[0-9]+/patchlevel\.h", 1 << 16, _python),
        (rb"app/(?:uv\.lock|poetry\.lock|pdm\.lock|pylock\.toml)", 8 << 20, _python_lock),
        (rb"app/Pipfile\.lock", 8 << 20, _pipfile_lock),
        (rb"app/Gemfile\.lock", 8 << 20, _gems),
        (rb"(?!usr/(?:share|lib)/).*\.jar", _JAR_BYTES, _jar),
    )
)
"""A file's path in the layer, the most bytes that it may have, and its parser."""

_PATHS = (
    ("pypi", re.compile(rb"(?:.*/)?site-packages/([^/]+)-([^/-]+)\.dist-info/METADATA")),
    ("gem", re.compile(rb"(?:.*/)?specifications/([^/]+?)-([0-9][^/]*)\.gemspec")),
)
_WHEEL = re.compile(rb"(?:.*/)?site-packages/([^/]+)-([^/-]+)\.dist-info/WHEEL")


def of_path(path: bytes) -> list[Record]:
    """The package that a file's path alone tells of."""
    for kind, pattern in _PATHS:
        if match := pattern.fullmatch(path):
            return list(package(kind, *map(text_of, match.groups())))
    return []


def parser_of(path: bytes) -> tuple[int, Parser] | None:
    """The most bytes, and the parser, of a file that is read."""
    if match := _WHEEL.fullmatch(path):
        name, version = map(text_of, match.groups())

        def wheel(data: bytes) -> Iterator[Record]:
            tags = (line[4:].strip() for line in text_of(data).splitlines() if line.startswith("Tag:"))
            yield Built(canonical("pypi", name), version, frozenset(tags))

        return 1 << 16, wheel
    return next(((most, parser) for pattern, most, parser in PARSERS if pattern.fullmatch(path)), None)


def with_digests(records: Iterator[Record]) -> list[Package]:
    """The packages, each once, with the digest of what it was installed from where exactly one lock entry fits."""
    found: dict[tuple[str, str, str], Package] = {}
    locked: dict[tuple[str, str, str], list[Locked]] = {}
    tags: dict[tuple[str, str], frozenset[str]] = {}
    for record in records:
        if isinstance(record, Built):
            tags[record.name, record.version] = record.tags
        elif isinstance(record, Locked):
            locked.setdefault(record[:3], []).append(record)
        elif not found.get(record[:3], (*record[:3], ""))[3]:
            found[record[:3]] = record
    done = []
    for one in found.values():
        name = canonical(one.kind, one.name)
        mine = tags.get((name, one.version), frozenset())
        entries = locked.get((one.kind, name, one.version), [])
        digests = {entry.digest for entry in entries if not entry.file or fits(entry.file, mine)}
        done.append(one._replace(digest=digests.pop()) if len(digests) == 1 and not one.digest else one)
    return done
