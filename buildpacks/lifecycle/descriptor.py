"""What a buildpack says of itself: `buildpack.toml`, and of a composite one the folders that `package.toml` names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OLDEST, NEWEST = (0, 8), (0, 12)
_FILE_BYTES = 1 << 20
_RESERVED = ("app", "config", "sbom")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./_-")


class Refused(Exception):
    """The app cannot be built with these buildpacks; the message is a line for people."""


def ended(status: int) -> str:
    """How a program of a buildpack ended, in words."""
    return f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}"


@dataclass(frozen=True)
class Entry:
    """One line of a group: a buildpack by name; without a version any is meant."""

    id: str
    version: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Buildpack:
    """`order` makes it a composite one, of other buildpacks, with no programs of its own."""

    folder: Path
    id: str
    version: str
    api: tuple[int, int]
    order: tuple[tuple[Entry, ...], ...] = ()
    clear_env: bool = False
    targets: tuple[dict[str, Any], ...] = ()
    stacks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.id} {self.version}".strip()

    @property
    def escaped(self) -> str:
        """The name of its folder of layers."""
        return self.id.replace("/", "_")


def read_toml(path: Path, owner: str) -> dict[str, Any]:
    """A TOML file of `owner`; empty if it is not there. Raises Refused."""
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_BYTES + 1)
        if len(data) > _FILE_BYTES:
            raise Refused(f"{path.name} of {owner} is larger than {_FILE_BYTES >> 10} KiB")
        return tomllib.loads(data.decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Refused(f"{path.name} of {owner} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path.name} of {owner} is not TOML: {str(error)[:120]}") from None


def tables(value: Any) -> list[dict[str, Any]]:
    """The tables of an array of them; whatever else it is, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def for_production(table: dict[str, Any]) -> bool:
    """Whether something is meant for apps that serve; `exec-env` (API 0.12) may name other environments, like test."""
    named = table.get("exec-env")
    return not isinstance(named, list) or not named or bool({"production", "*"} & set(map(str, named)))


def read(folder: Path, shown: str) -> Buildpack:
    """The buildpack in a folder, which people call `shown`. Raises Refused."""
    found = read_toml(folder / "buildpack.toml", f"the buildpack {shown}")
    about = found.get("buildpack")
    about = about if isinstance(about, dict) else {}
    id = about.get("id")
    if (
        not isinstance(id, str)
        or not id
        or not set(id) <= _LETTERS
        or id in _RESERVED
        or ".." in id
        or id[0] in "./"
    ):
        raise Refused(f"buildpack.toml of the buildpack {shown} names no id that a buildpack may have")
    return Buildpack(
        folder,
        id,
        str(about.get("version", "")),
        _api(found.get("api"), id),
        tuple(_group(table) for table in tables(found.get("order"))),
        about.get("clear-env") is True,
        tuple(tables(found.get("targets"))),
        tuple(str(table.get("id")) for table in tables(found.get("stacks"))),
    )


def _api(said: Any, id: str) -> tuple[int, int]:
    parts = said.split(".") if isinstance(said, str) else []
    if len(parts) == 2 and all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        api = int(parts[0]), int(parts[1])
        if OLDEST <= api <= NEWEST:
            return api
    word = said if isinstance(said, str) else f"no text ({said})" if said is not None else "none"
    raise Refused(f"the buildpack {id} speaks the Buildpack API {str(word)[:20]}")


def _group(table: dict[str, Any]) -> tuple[Entry, ...]:
    return tuple(
        Entry(str(one.get("id")), str(one.get("version", "")), one.get("optional") is True)
        for one in tables(table.get("group"))
        if for_production(one)
    )


class Known:
    """All buildpacks that are there, by id and version."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Buildpack]] = {}

    def add(self, folder: Path, shown: str) -> Buildpack:
        """The buildpack in this folder, and those that its `package.toml` finds beside it. Raises Refused."""
        pack = read(folder, shown)
        versions = self._found.setdefault(pack.id, {})
        if versions.get(pack.version, pack).folder != folder:
            raise Refused(f"the buildpack {pack} is there twice")
        if pack.version not in versions:
            versions[pack.version] = pack
            for place in _neighbours(folder) if pack.order else ():
                self.add(place, f"{shown}/{os.path.relpath(place, folder)}")
        return pack

    def add_all(self, folder: Path) -> None:
        """Those of a package, at `ID/VERSION` below the folder. Raises Refused."""
        for place in sorted(folder.glob("*/*/")):
            if (place / "buildpack.toml").is_file():
                self.add(place, f"{place.parent.name} {place.name}")

    def find(self, wanted: Entry, by: str) -> Buildpack:
        """Raises Refused if it is not there."""
        versions = self._found.get(wanted.id, {})
        if wanted.version in versions:
            return versions[wanted.version]
        if versions and not wanted.version:
            return max(versions.values(), key=lambda pack: _numbers(pack.version))
        have = f"; there is {', '.join(sorted(versions))}" if versions else ""
        raise Refused(
            f"the buildpack {by} wants the buildpack {wanted.id} {wanted.version}".strip()
            + f", which is missing{have}"
        )


def _neighbours(folder: Path) -> Iterator[Path]:
    wanted: Iterable[dict[str, Any]] = tables(
        read_toml(folder / "package.toml", f"the buildpack in {folder.name}").get("dependencies")
    )
    for table in wanted:
        uri = table.get("uri")
        if isinstance(uri, str) and ":" not in uri and (folder / uri / "buildpack.toml").is_file():
            yield (folder / uri).resolve()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isascii() and part.isdigit() else 0 for part in version.split(".")[:8])
