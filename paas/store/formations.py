"""Rows of `formation`: how many of each process type should run, within which limits."""

from __future__ import annotations

import json

from paas.nouns.model import FormationEntry
from paas.store.database import Tx
from paas.store.table import Table

FORMATIONS = Table("formation", FormationEntry, json=("limits",), flags=("stopped",))


def of_app(tx: Tx, app_id: str) -> dict[str, FormationEntry]:
    """By process type, sorted by it."""
    return {entry.type: entry for entry in FORMATIONS.select(tx, "WHERE app_id = ? ORDER BY type", (app_id,))}


def ensure(tx: Tx, app_id: str, type: str, quantity: int) -> None:
    """Add the type with this count unless it has one."""
    tx.execute(
        "INSERT INTO formation (app_id, type, quantity) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (app_id, type, quantity),
    )


def set_quantity(tx: Tx, app_id: str, type: str, quantity: int) -> None:
    """Scaling also starts a stopped type again."""
    tx.execute(
        "INSERT INTO formation (app_id, type, quantity) VALUES (?, ?, ?)"
        " ON CONFLICT (app_id, type) DO UPDATE SET quantity = excluded.quantity, stopped = 0",
        (app_id, type, quantity),
    )


def set_limits(tx: Tx, app_id: str, type: str, limits: dict[str, int]) -> None:
    """Replace what differs from the defaults."""
    tx.execute(
        "INSERT INTO formation (app_id, type, quantity, limits) VALUES (?, ?, 0, ?)"
        " ON CONFLICT (app_id, type) DO UPDATE SET limits = excluded.limits",
        (app_id, type, json.dumps(limits)),
    )


def set_stopped(tx: Tx, app_id: str, type: str, stopped: bool) -> None:
    tx.execute("UPDATE formation SET stopped = ? WHERE app_id = ? AND type = ?", (int(stopped), app_id, type))


def forget_unserved(tx: Tx, app_id: str) -> None:
    """Forget the types that only releases which never served have brought, with their counts and limits.

    Kept are those of a release that served or still may, and those that the serving release has limits for (`run`).
    """
    tx.execute(
        "DELETE FROM formation WHERE app_id = ?1 AND type NOT IN"
        " (SELECT each.key FROM release JOIN image ON image.app_id = release.app_id"
        " AND image.digest = release.image_digest, json_each(image.processes) AS each"
        " WHERE release.app_id = ?1 AND release.state IN ('succeeded', 'pending')) AND type NOT IN"
        " (SELECT each.key FROM app JOIN release ON release.app_id = app.id AND release.number = app.release_number,"
        " json_each(release.limits) AS each WHERE app.id = ?1)",
        (app_id,),
    )
