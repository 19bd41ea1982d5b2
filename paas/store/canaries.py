"""Rows of `canary`: at most one an app, while a second release gets a share of its requests."""

from __future__ import annotations

from paas.nouns.model import Canary
from paas.store import events, formations, releases
from paas.store.database import Tx, now
from paas.store.table import Table

CANARIES = Table("canary", Canary)


def put(tx: Tx, app_id: str, release_number: int, *, share: int, quantity: int) -> Canary:
    """Begin one, or change the share and quantity of the one there is."""
    CANARIES.insert(
        tx,
        vars(Canary(app_id, release_number, share, quantity, now())),
        conflict="ON CONFLICT (app_id) DO UPDATE SET share = excluded.share, quantity = excluded.quantity",
    )
    found = of_app(tx, app_id)
    assert found is not None
    return found


def of_app(tx: Tx, app_id: str) -> Canary | None:
    return CANARIES.find(tx, app_id=app_id)


def all(tx: Tx) -> dict[str, Canary]:
    """By app id."""
    return {canary.app_id: canary for canary in CANARIES.select(tx, "")}


def end(tx: Tx, app_id: str, *, actor: str, why: str) -> Canary | None:
    """Its instances leave and the serving release gets all requests. A release that a push made for the canary and
    that never served is cancelled. Returns None when there is no canary."""
    ended = of_app(tx, app_id)
    if ended is not None:
        number = ended.release_number
        CANARIES.delete(tx, app_id=app_id)
        release = releases.get(tx, app_id, number)
        if release is not None and release.state == "pending":
            releases.set_state(tx, app_id, number, "cancelled", cause=f"canary: {why}")
            formations.forget_unserved(tx, app_id)
        events.add(tx, app_id, actor, "canary.end", {"release": number, "why": why})
    return ended
