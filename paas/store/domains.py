"""Rows of `domain`: host names that people gave to apps, beside the one each app has by its name."""

from __future__ import annotations

from paas.errors import Conflict, NotFound
from paas.model import Domain
from paas.store.database import Tx, now


def add(tx: Tx, app_id: str, name: str) -> Domain:
    """Raises Conflict when an app has the name already."""
    row = tx.execute("SELECT app_id FROM domain WHERE name = ?", (name,)).fetchone()
    if row:
        owner = "this app" if row[0] == app_id else "another app"
        raise Conflict(f"The domain {name} belongs to {owner} already.")
    if _is_within_others(tx, app_id, name):
        raise Conflict(f"The domain {name} overlaps with one of another user's app.")
    at = now()
    tx.execute("INSERT INTO domain (name, app_id, created_at) VALUES (?, ?, ?)", (name, app_id, at))
    return Domain(name, app_id, at)


def _is_within_others(tx: Tx, app_id: str, name: str) -> bool:
    """Whether an app of another owner has a wildcard over the name, or, if that is a wildcard, a name below it."""
    labels = name.removeprefix("*.").split(".")
    first = 0 if name.startswith("*.") else 1
    above = [f"*.{'.'.join(labels[start:])}" for start in range(first, len(labels))]
    ending = name.removeprefix("*") if name.startswith("*.") else None
    others = tx.execute(
        "SELECT domain.name FROM domain JOIN app ON app.id = domain.app_id"
        " WHERE app.owner_id IS NOT (SELECT owner_id FROM app WHERE id = ?)",
        (app_id,),
    )
    return any(other in above or (ending is not None and other.endswith(ending)) for (other,) in others)


def remove(tx: Tx, app_id: str, name: str) -> None:
    """Raises NotFound when the app has no such domain."""
    tx.execute("DELETE FROM domain WHERE name = ? AND app_id = ?", (name, app_id))
    if not tx.changes():
        raise NotFound(f"This app has no domain {name}.")


def of_app(tx: Tx, app_id: str) -> list[Domain]:
    rows = tx.execute("SELECT name, app_id, created_at FROM domain WHERE app_id = ? ORDER BY name", (app_id,))
    return [Domain(*row) for row in rows]


def all(tx: Tx) -> list[Domain]:
    return [Domain(*row) for row in tx.execute("SELECT name, app_id, created_at FROM domain ORDER BY name")]
