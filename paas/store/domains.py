"""Rows of `domain`: hosts, with or without a path, that people gave to apps beside the one each has by its name."""

from __future__ import annotations

from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import Domain
from paas.store import routing
from paas.store.database import Tx, now
from paas.store.table import Table

DOMAINS = Table("domain", Domain)


def add(tx: Tx, app_id: str, name: str, *, anywhere: bool = False) -> Domain:
    """A host belongs to the owner of the first app that had it, with or without a path; others may only add a path
    below it when they may do so `anywhere`. Raises Conflict, also when an app has the name already."""
    row = tx.execute("SELECT app_id FROM domain WHERE name = ?", (name,)).fetchone()
    if row:
        owner = "this app" if row[0] == app_id else "another app"
        raise Conflict(f"The domain {name} belongs to {owner} already.")
    if not anywhere and _is_of_others(tx, app_id, name):
        raise Conflict(
            f"The host {name.partition('/')[0]} belongs to another user.",
            "Its owner, or an administrator, can add paths below it.",
        )
    if _is_within_others(tx, app_id, name):
        raise Conflict(f"The domain {name} overlaps with one of another user's app.")
    domain = Domain(name, app_id, now())
    DOMAINS.insert(tx, vars(domain))
    return domain


def _is_of_others(tx: Tx, app_id: str, name: str) -> bool:
    """Whether the first app that had the host, under whatever path, belongs to another owner."""
    host = name.partition("/")[0]
    row = tx.execute(
        "SELECT app.owner_id IS (SELECT owner_id FROM app WHERE id = ?) FROM domain"
        " JOIN app ON app.id = domain.app_id WHERE domain.name = ? OR substr(domain.name, 1, ?) = ?"
        " ORDER BY domain.rowid LIMIT 1",
        (app_id, host, len(host) + 1, f"{host}/"),
    ).fetchone()
    return row is not None and not row[0]


def _is_within_others(tx: Tx, app_id: str, name: str) -> bool:
    """Whether an app of another owner has a wildcard over the host, or, if that is a wildcard, a name below it."""
    host = name.partition("/")[0]
    labels = host.removeprefix("*.").split(".")
    above = [f"*.{'.'.join(labels[start:])}" for start in range(0 if host[0] == "*" else 1, len(labels))]
    rows = tx.execute(
        "SELECT domain.name FROM domain JOIN app ON app.id = domain.app_id"
        " WHERE app.owner_id IS NOT (SELECT owner_id FROM app WHERE id = ?)",
        (app_id,),
    )
    others = {other.partition("/")[0] for (other,) in rows} - {host}
    return any(other in above or (host[0] == "*" and other.endswith(host[1:])) for other in others)


def remove(tx: Tx, app_id: str, name: str) -> None:
    """Raises NotFound when the app has no such domain."""
    if not DOMAINS.delete(tx, name=name, app_id=app_id):
        raise NotFound(f"This app has no domain {name}.")
    routing.forget(tx, app_id, name)


def of_app(tx: Tx, app_id: str) -> list[Domain]:
    return DOMAINS.select(tx, "WHERE app_id = ? ORDER BY name", (app_id,))


def all(tx: Tx) -> list[Domain]:
    return DOMAINS.select(tx, "ORDER BY name")
