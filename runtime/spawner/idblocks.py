"""The machine's register of user ids and addresses: which block belongs to which home.

Every platform on a machine takes a block of user ids and a block of addresses that no other uses. Files on disk are owned
by those ids, so the register must survive a reboot: `/var/lib/paas-blocks/blocks.json`, written by root alone. A home
keeps its blocks for ever. Blocks of a missing home are reused only when no others are left: its disk may just not be
mounted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path

from runtime.home import Layout
from runtime.kernel import files

REGISTER = Path("/var/lib/paas-blocks")
SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))

ID_COUNT = 1 << 26
"""User ids of one home: 1024 apps of 65,536 ids."""

_ID_BASES = range(1 << 29, (1 << 32) - ID_COUNT, ID_COUNT)
_NETWORKS = IPv4Network("10.192.0.0/10")
_NETWORK_PREFIX = 20


class BlockError(Exception):
    """No block is free, or the register is damaged; the message has the remedy."""


class CopiedHome(BlockError):
    """The home has the id of another home, `original`, which exists."""

    def __init__(self, layout: Layout, original: str) -> None:
        super().__init__(
            f"{layout.home} has the id {layout.id} of {original}: a copied home needs an id of its own;"
            f" remove {layout.home}/id"
        )
        self.original = original


@dataclass(frozen=True)
class Block:
    """The block of one home: `id_count` user ids from `id_base`, and a network of 4094 addresses."""

    id: str
    id_base: int
    id_count: int
    network: IPv4Network


@dataclass(frozen=True)
class _Entry:
    id: str
    home: str
    id_base: int
    network: str


def claim(layout: Layout, *, register: Path = REGISTER, routes: Iterable[IPv4Network] = ()) -> Block:
    """The blocks of this home, taken now if it has none.

    `routes` are the networks that this machine reaches already, without its default route. A moved home keeps its blocks.
    Raises BlockError; CopiedHome for a copied home.
    """
    with _locked(register):
        entries = _load(register)
        own = _own(entries, layout)
        if own is None:
            own = _choose(layout, entries, [item for item in routes if item.prefixlen > 0])
            entries = [item for item in entries if item.home != own.home and not _overlap(item, own)]
        else:
            entries = [item for item in entries if item.id != own.id and item.home != own.home]
        _save(register, [*entries, own])
    return Block(own.id, own.id_base, ID_COUNT, IPv4Network(own.network))


def networks(*, register: Path = REGISTER) -> list[IPv4Network]:
    """The network of every existing home."""
    return [IPv4Network(item.network) for item in _load(register) if _lives(item)]


def release(layout: Layout, *, register: Path = REGISTER) -> None:
    """Free the blocks of a home that is being removed."""
    with _locked(register):
        _save(register, [item for item in _load(register) if item.id != layout.id])


def _own(entries: list[_Entry], layout: Layout) -> _Entry | None:
    home = str(layout.home)
    for item in entries:
        if item.id != layout.id:
            continue
        if item.home != home and _lives(item) and not os.path.samefile(item.home, home):
            raise CopiedHome(layout, item.home)
        return _Entry(item.id, home, item.id_base, item.network)
    return None


def _choose(layout: Layout, entries: list[_Entry], routes: list[IPv4Network]) -> _Entry:
    subordinate = list(_subordinate(SUBORDINATE))
    for taken in (
        [item for item in entries if item.home != str(layout.home)],
        [item for item in entries if _lives(item)],
    ):
        bases = {item.id_base for item in taken}
        base = next((b for b in _ID_BASES if b not in bases and not _meets(b, subordinate)), None)
        used = [*routes, *(IPv4Network(item.network) for item in taken)]
        network = next(
            (
                n
                for n in _NETWORKS.subnets(new_prefix=_NETWORK_PREFIX)
                if not any(n.overlaps(u) for u in used)
            ),
            None,
        )
        if base is not None and network is not None:
            return _Entry(layout.id, str(layout.home), base, str(network))
    what = "user ids" if base is None else f"addresses in {_NETWORKS}"
    raise BlockError(
        f"no block of {what} is free: {len(entries)} homes, routes and /etc/subuid take them all"
    )


def _overlap(one: _Entry, other: _Entry) -> bool:
    return one.id_base == other.id_base or one.network == other.network


def _lives(entry: _Entry) -> bool:
    """Whether the home that took the block still exists."""
    try:
        return (Path(entry.home) / "id").read_text().strip() == entry.id
    except OSError:
        return False


def _meets(base: int, ranges: list[tuple[int, int]]) -> bool:
    return any(first < base + ID_COUNT and base < first + count for first, count in ranges)


def _subordinate(paths: Iterable[Path]) -> Iterator[tuple[int, int]]:
    """`(first, count)` of each line `user:first:count` (subuid(5))."""
    for path in paths:
        try:
            lines = path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split(":")
            if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
                yield int(fields[1]), int(fields[2])


def _load(register: Path) -> list[_Entry]:
    path = register / "blocks.json"
    try:
        items = json.loads(path.read_text())["blocks"]
        return [_Entry(item["id"], item["home"], int(item["id_base"]), item["network"]) for item in items]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise BlockError(f"{path} is damaged ({error}); restore it from a backup") from error


def _save(register: Path, entries: list[_Entry]) -> None:
    blocks = [asdict(item) for item in sorted(entries, key=lambda item: item.id_base)]
    files.replace(register / "blocks.json", json.dumps({"blocks": blocks}, indent=1) + "\n", mode=0o644)


def _locked(register: Path) -> AbstractContextManager[int]:
    register.mkdir(mode=0o755, parents=True, exist_ok=True)
    return files.locked(register / "lock")
