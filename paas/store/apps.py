"""Rows of `app`."""

from __future__ import annotations

import json
import secrets

from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import App
from paas.nouns.units import DAY_S
from paas.store.database import Tx, now, one
from paas.store.table import Table
from runtime.spawner.idblocks import ID_COUNT
from runtime.spec import ID_RANGE

FORMER_NAMES = 10
FORMER_NAME_S = 30 * DAY_S
"""How long someone who uses an app's old name is told the new one."""

APPS = Table("app", App, json=("build_settings",), flags=("destroying",))


def create(tx: Tx, name: str, owner_id: int | None, *, stack: str = "debian-12") -> App:
    """A new app with a new id and the lowest free id range (from 1; 0 is the platform's own). Raises Conflict."""
    if by_name(tx, name):
        raise Conflict(f"The name {name} is taken.", "Choose another name.")
    (range_index,) = one(
        tx,
        "SELECT min(n) FROM (SELECT 1 AS n UNION SELECT range_index + 1 FROM app)"
        " WHERE n NOT IN (SELECT range_index FROM app)",
    )
    if range_index * ID_RANGE >= ID_COUNT:
        raise Conflict("The platform has no user ids left for another app.", "Destroy an app first.")
    tx.execute("DELETE FROM former_name WHERE name = ?", (name,))
    app_id = "a" + secrets.token_hex(5)
    tx.execute(
        "INSERT INTO app (id, name, owner_id, range_index, stack, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (app_id, name, owner_id, range_index, stack, now()),
    )
    return get(tx, app_id)


def count_of(tx: Tx, owner_id: int | None) -> int:
    """How many apps a user has, those that are being destroyed included."""
    (count,) = one(tx, "SELECT count(*) FROM app WHERE owner_id IS ?", (owner_id,))
    return int(count)


def by_id(tx: Tx, app_id: str) -> App | None:
    return APPS.find(tx, id=app_id)


def get(tx: Tx, app_id: str) -> App:
    """Raises NotFound."""
    app = by_id(tx, app_id)
    if app is None:
        raise NotFound(f"There is no app with the id {app_id}.")
    return app


def by_name(tx: Tx, name: str) -> App | None:
    return APPS.find(tx, name=name)


def all(tx: Tx) -> list[App]:
    return APPS.select(tx, "ORDER BY name")


def rename(tx: Tx, app_id: str, name: str) -> None:
    """Raises Conflict when another app has the name."""
    other = by_name(tx, name)
    if other and other.id != app_id:
        raise Conflict(f"The name {name} is taken.", "Choose another name.")
    before, at = get(tx, app_id).name, now()
    tx.execute("UPDATE app SET name = ? WHERE id = ?", (name, app_id))
    tx.execute("INSERT OR REPLACE INTO former_name VALUES (?, ?, ?)", (before, app_id, at + FORMER_NAME_S))
    tx.execute("DELETE FROM former_name WHERE name = ? OR until < ?", (name, at))
    tx.execute(
        "DELETE FROM former_name WHERE app_id = ?1 AND name NOT IN"
        " (SELECT name FROM former_name WHERE app_id = ?1 ORDER BY until DESC LIMIT ?2)",
        (app_id, FORMER_NAMES),
    )


def by_former_name(tx: Tx, name: str) -> App | None:
    """The app that had the name until lately."""
    return APPS.first(
        tx,
        "WHERE destroying = 0 AND id = (SELECT app_id FROM former_name WHERE name = ? AND until >= ?)",
        (name, now()),
    )


def set_release(tx: Tx, app_id: str, number: int) -> None:
    """Make this the serving release."""
    tx.execute("UPDATE app SET release_number = ? WHERE id = ?", (number, app_id))


def set_branch(tx: Tx, app_id: str, branch: str) -> None:
    tx.execute("UPDATE app SET deploy_branch = ? WHERE id = ?", (branch, app_id))


def set_build_settings(tx: Tx, app_id: str, settings: dict[str, str]) -> None:
    tx.execute("UPDATE app SET build_settings = ? WHERE id = ?", (json.dumps(settings), app_id))


def bump_restart(tx: Tx, app_id: str) -> int:
    """The new restart token: live instances with a lower one are replaced."""
    tx.execute("UPDATE app SET restart_token = restart_token + 1 WHERE id = ?", (app_id,))
    return get(tx, app_id).restart_token


def set_destroying(tx: Tx, app_id: str) -> None:
    """Free the name at once; the loop removes what the app has, then the row."""
    tx.execute("UPDATE app SET destroying = 1, name = id WHERE id = ?", (app_id,))
    tx.execute("DELETE FROM domain WHERE app_id = ?", (app_id,))


def delete(tx: Tx, app_id: str) -> None:
    APPS.delete(tx, id=app_id)
