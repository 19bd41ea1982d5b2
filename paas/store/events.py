"""Rows of `event`: who did what to which app, append-only, written in the transaction of the change."""

from __future__ import annotations

from typing import Any

from paas.nouns.model import Event
from paas.store.database import Tx, now, one
from paas.store.table import Table

EVENTS = Table("event", Event, json=("detail",))


def add(tx: Tx, app_id: str | None, actor: str, verb: str, detail: dict[str, Any] | None = None) -> int:
    """`verb` is like app.create, config.set, release.succeeded; values of config vars stay out of `detail`. The
    event's number."""
    EVENTS.insert(tx, {"at": now(), "app_id": app_id, "actor": actor, "verb": verb, "detail": detail or {}})
    return tx.last_insert_rowid()


def last(tx: Tx) -> int:
    """The number of the newest event."""
    return int(one(tx, "SELECT coalesce(max(seq), 0) FROM event")[0])


def prune(tx: Tx, keep: int) -> None:
    """Delete all events except the newest `keep` of each app, and of those that belong to no present app."""
    tx.execute(
        "DELETE FROM event WHERE seq IN (SELECT seq FROM (SELECT seq, row_number() OVER"
        " (PARTITION BY app.id ORDER BY seq DESC) AS place FROM event LEFT JOIN app ON app.id = event.app_id)"
        " WHERE place > ?)",
        (keep,),
    )


def after(tx: Tx, seq: int, limit: int = 1000) -> list[Event]:
    """Oldest first."""
    return EVENTS.select(tx, "WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
