"""Rows of `config`: numbered sets of variables; a change is the next number."""

from __future__ import annotations

import json

from paas.store import apps
from paas.store.database import Tx, now, one


def get(tx: Tx, app_id: str, number: int) -> dict[str, str]:
    """The variables of that number; 0 is the empty set that every app begins with."""
    row = tx.execute("SELECT vars FROM config WHERE app_id = ? AND number = ?", (app_id, number)).fetchone()
    return dict(json.loads(row[0])) if row else {}


def put(tx: Tx, app_id: str, vars: dict[str, str]) -> int:
    """Store the next set and make it the app's desired one; its number."""
    (number,) = one(tx, "SELECT coalesce(max(number), 0) + 1 FROM config WHERE app_id = ?", (app_id,))
    tx.execute(
        "INSERT INTO config (app_id, number, vars, created_at) VALUES (?, ?, ?, ?)",
        (app_id, number, json.dumps(vars), now()),
    )
    apps.set_config(tx, app_id, number)
    return int(number)
