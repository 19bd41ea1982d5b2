"""Rows of `routing`: what people set for the requests of their apps, see `paas.routing.settings`."""

from __future__ import annotations

import json
from typing import Any

from paas.routing.settings import PAGES
from paas.store.database import Tx

Routing = dict[str, dict[str, Any]]
"""Domain (`paas.routing.settings.APP_WIDE` for all of them) → name → value."""


def all(tx: Tx) -> dict[str, Routing]:
    """By app id."""
    found: dict[str, Routing] = {}
    for app_id, domain, name, value in tx.execute("SELECT app_id, domain, name, value FROM routing"):
        found.setdefault(app_id, {}).setdefault(domain, {})[name] = json.loads(value)
    return found


def of_app(tx: Tx, app_id: str) -> Routing:
    found: Routing = {}
    rows = tx.execute("SELECT domain, name, value FROM routing WHERE app_id = ? ORDER BY domain", (app_id,))
    for domain, name, value in rows:
        found.setdefault(domain, {})[name] = json.loads(value)
    return found


def put(tx: Tx, app_id: str, domain: str, name: str, value: Any) -> None:
    """Set one value; None takes it away."""
    if value is None:
        tx.execute("DELETE FROM routing WHERE app_id = ? AND domain = ? AND name = ?", (app_id, domain, name))
        return
    tx.execute(
        "INSERT INTO routing (app_id, domain, name, value) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (app_id, domain, name) DO UPDATE SET value = excluded.value",
        (app_id, domain, name, json.dumps(value)),
    )


def forget(tx: Tx, app_id: str, domain: str) -> None:
    """The app has this domain no longer."""
    tx.execute("DELETE FROM routing WHERE app_id = ? AND domain = ?", (app_id, domain))


def rename(tx: Tx, app_id: str, old: str, new: str) -> None:
    """The app's own host has another name."""
    tx.execute("UPDATE routing SET domain = ? WHERE app_id = ? AND domain = ?", (new, app_id, old))
    tx.execute(
        "UPDATE routing SET value = ? WHERE app_id = ? AND name = 'canonical-host' AND value = ?",
        (json.dumps(new), app_id, json.dumps(old)),
    )


def pages(tx: Tx) -> set[str]:
    """Files of error pages that are in use."""
    rows = tx.execute("SELECT value FROM routing WHERE name = ?", (PAGES,))
    return {name for (value,) in rows for name in json.loads(value).values()}
