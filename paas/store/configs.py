"""Rows of `config`: numbered sets of variables; a change is the next number."""

from __future__ import annotations

import json
from collections.abc import Collection

from paas.nouns.model import Release
from paas.store.database import Tx, now, one


def get(tx: Tx, app_id: str, number: int) -> dict[str, str]:
    """The variables of that number; 0 is the empty set that every app begins with."""
    row = tx.execute("SELECT vars FROM config WHERE app_id = ? AND number = ?", (app_id, number)).fetchone()
    return dict(json.loads(row[0])) if row else {}


def of(tx: Tx, release: Release | None) -> dict[str, str]:
    """The variables of a release; none without one."""
    return {} if release is None else get(tx, release.app_id, release.config_number)


def kept(tx: Tx, app_id: str, number: int) -> bool:
    """Whether the variables of that number are still known."""
    return number == 0 or bool(
        tx.execute("SELECT 1 FROM config WHERE app_id = ? AND number = ?", (app_id, number)).fetchone()
    )


def prune(tx: Tx, app_id: str, used: Collection[int]) -> None:
    """Forget all sets of the app but the `used` ones and the newest, whose number goes on."""
    tx.execute(
        "DELETE FROM config WHERE app_id = ?1 AND number NOT IN (SELECT value FROM json_each(?2))"
        " AND number < (SELECT max(number) FROM config WHERE app_id = ?1)",
        (app_id, json.dumps(sorted(used))),
    )


def put(tx: Tx, app_id: str, vars: dict[str, str]) -> int:
    """Store the next set; its number."""
    (number,) = one(tx, "SELECT coalesce(max(number), 0) + 1 FROM config WHERE app_id = ?", (app_id,))
    tx.execute(
        "INSERT INTO config (app_id, number, vars, created_at) VALUES (?, ?, ?, ?)",
        (app_id, number, json.dumps(vars), now()),
    )
    return int(number)
