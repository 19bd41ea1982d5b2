"""After a restart of the loop, the spawner or the machine: rows against containers. Pure.

A row without container is lost (the plan reaps it); a container without row is killed and removed; a row with its
container is adopted, with the address that the spawner knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from paas.nouns.model import Instance


@dataclass(frozen=True)
class Adoption:
    """`orphans` are runtime ids to delete; `addresses` what rows do not know yet, by row id."""

    orphans: tuple[str, ...]
    addresses: Mapping[int, str]


def adopt(rows: Iterable[Instance], containers: Mapping[str, str | None]) -> Adoption:
    """Compare live rows with containers (runtime id -> address). Read the containers before the rows: a row is
    always written first, so a container without row has none any more."""
    by_id = {row.runtime_id: row for row in rows}
    orphans = tuple(sorted(id for id in containers if id not in by_id))
    addresses = {
        by_id[id].id: address
        for id, address in containers.items()
        if address and id in by_id and by_id[id].address != address
    }
    return Adoption(orphans, addresses)
