"""Rows of `formation`: how many of each process type should run, within which limits."""

from __future__ import annotations

import json

from paas.model import FormationEntry
from paas.store.database import Tx


def of_app(tx: Tx, app_id: str) -> dict[str, FormationEntry]:
    """By process type, sorted by it."""
    rows = tx.execute(
        "SELECT app_id, type, quantity, limits, stopped FROM formation WHERE app_id = ? ORDER BY type",
        (app_id,),
    )
    return {row[1]: FormationEntry(row[0], row[1], row[2], json.loads(row[3]), bool(row[4])) for row in rows}


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
