"""Rows of `hook`: addresses at which forges tell of pushes."""

from __future__ import annotations

from paas.nouns.errors import NotFound
from paas.nouns.model import Hook
from paas.store.database import Tx, now
from paas.store.table import Table

HOOKS = Table("hook", Hook)


def add(tx: Tx, app_id: str, *, id: str, url: str, branch: str, secret: str, created_by: str) -> Hook:
    hook = Hook(id, app_id, url, branch, secret, None, None, "", now(), created_by)
    HOOKS.insert(tx, vars(hook))
    return hook


def get(tx: Tx, id: str) -> Hook | None:
    return HOOKS.find(tx, id=id)


def of_app(tx: Tx, app_id: str) -> list[Hook]:
    return HOOKS.select(tx, "WHERE app_id = ? ORDER BY created_at", (app_id,))


def wanted(tx: Tx) -> list[Hook]:
    """Those whose push waits for its build, the longest waiting first."""
    return HOOKS.select(tx, "WHERE wanted_at IS NOT NULL ORDER BY wanted_at")


def heard(tx: Tx, id: str, said: str, *, wanted: bool) -> None:
    """A delivery came. What was wanted before stays wanted, and keeps its place."""
    sql = "UPDATE hook SET heard_at = ?, said = ?, wanted_at = coalesce(wanted_at, ?) WHERE id = ?"
    tx.execute(sql, (now(), said, now() if wanted else None, id))


def begun(tx: Tx, id: str) -> None:
    tx.execute("UPDATE hook SET wanted_at = NULL WHERE id = ?", (id,))


def ended(tx: Tx, id: str, said: str) -> None:
    tx.execute("UPDATE hook SET said = ? WHERE id = ?", (said, id))


def remove(tx: Tx, app_id: str, id: str) -> None:
    """Raises NotFound."""
    if not HOOKS.delete(tx, app_id=app_id, id=id):
        raise NotFound("This app has no such hook.", "`paas hooks` lists them.")
