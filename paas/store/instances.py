"""Rows of `instance`: start-intent first, then what the loop saw of the container."""

from __future__ import annotations

import json
from typing import Any

from paas.nouns import lifecycle
from paas.nouns.errors import NotFound
from paas.nouns.model import Instance
from paas.store.database import Tx, now
from paas.store.table import Table

INSTANCES = Table("instance", Instance, json=("detail", "exit"), flags=("canary",))


def create(
    tx: Tx,
    app_id: str,
    *,
    kind: str,
    type: str,
    number: int | None = None,
    release_number: int | None = None,
    deployment_id: int | None = None,
    restart_token: int = 0,
    detail: dict[str, Any] | None = None,
    canary: bool = False,
) -> Instance:
    """A row in state `starting`. Without a `number` (runs, builds) the instance gets the app's next one of its type."""
    at = now()
    if number is None:
        number = INSTANCES.next_number(tx, "WHERE app_id = ? AND type = ?", (app_id, type))
    INSTANCES.insert(
        tx,
        {
            "app_id": app_id,
            "kind": kind,
            "type": type,
            "number": number,
            "release_number": release_number,
            "deployment_id": deployment_id,
            "restart_token": restart_token,
            "state": "starting",
            "detail": detail or {},
            "canary": canary,
            "created_at": at,
            "state_at": at,
        },
    )
    return get(tx, tx.last_insert_rowid())


def get(tx: Tx, id: int) -> Instance:
    """Raises NotFound."""
    found = INSTANCES.find(tx, id=id)
    if found is None:
        raise NotFound(f"There is no instance i{id}.")
    return found


def live(tx: Tx) -> list[Instance]:
    return INSTANCES.select(tx, "WHERE ended_at IS NULL ORDER BY id")


def live_of(tx: Tx, app_id: str) -> list[Instance]:
    return INSTANCES.select(tx, "WHERE app_id = ? AND ended_at IS NULL ORDER BY id", (app_id,))


def set_state(tx: Tx, id: int, state: str) -> Instance:
    """Raises lifecycle.WrongTransition; `ended` has its own function."""
    instance = get(tx, id)
    lifecycle.check(lifecycle.INSTANCE, instance.state, state)
    if state == "ended":
        raise lifecycle.WrongTransition("an instance ends by ended()")
    tx.execute("UPDATE instance SET state = ?, state_at = ? WHERE id = ?", (state, now(), id))
    return get(tx, id)


def stop(tx: Tx, id: int, why: str) -> None:
    """Mark it for stopping: SIGTERM and, in the end, SIGKILL follow from the row. Raises lifecycle.WrongTransition."""
    if why:
        add_detail(tx, id, {"why": why})
    set_state(tx, id, "stopping")


def started(
    tx: Tx, id: int, *, address: str | None, port: int | None = None, detail: dict[str, Any] | None = None
) -> None:
    """Record where the container is reached, and what else identifies it (added to `detail`)."""
    merged = get(tx, id).detail | (detail or {})
    tx.execute(
        "UPDATE instance SET address = ?, port = ?, detail = ? WHERE id = ?",
        (address, port, json.dumps(merged), id),
    )


def add_detail(tx: Tx, id: int, detail: dict[str, Any]) -> Instance:
    """Add to (or replace in) the row's `detail`: why it is being stopped, the diagnosis of a failure."""
    merged = get(tx, id).detail | detail
    tx.execute("UPDATE instance SET detail = ? WHERE id = ?", (json.dumps(merged), id))
    return get(tx, id)


def healthy(tx: Tx, id: int) -> Instance:
    """State `up`, from now on."""
    set_state(tx, id, "up")
    tx.execute("UPDATE instance SET healthy_at = ? WHERE id = ?", (now(), id))
    return get(tx, id)


def ended(tx: Tx, id: int, *, cause: str, exit: dict[str, Any] | None = None) -> Instance:
    """Record why the container is gone, and the runtime's exit record. An ended instance stays as it is."""
    at = now()
    tx.execute(
        "UPDATE instance SET state = 'ended', state_at = ?, ended_at = ?, cause = ?, exit = ?"
        " WHERE id = ? AND ended_at IS NULL",
        (at, at, cause, json.dumps(exit) if exit is not None else None, id),
    )
    return get(tx, id)


def recent_of_slot(
    tx: Tx, app_id: str, type: str, number: int, limit: int = 10, *, canary: bool = False
) -> list[Instance]:
    """The newest instances of `type.number` (or of the canary's slot), newest first, ended or not."""
    return INSTANCES.select(
        tx,
        "WHERE app_id = ? AND type = ? AND number = ? AND canary = ? ORDER BY id DESC LIMIT ?",
        (app_id, type, number, int(canary), limit),
    )


def ids_of_release(tx: Tx, app_id: str, release_number: int) -> list[str]:
    """The runtime ids of every instance that a release has had, as far as rows are kept."""
    rows = tx.execute(
        "SELECT id FROM instance WHERE app_id = ? AND release_number = ?", (app_id, release_number)
    )
    return [f"i{row[0]}" for row in rows]


def of_deployment(tx: Tx, deployment_id: int) -> list[Instance]:
    return INSTANCES.select(tx, "WHERE deployment_id = ? ORDER BY id", (deployment_id,))


def spare_restart(tx: Tx, app_id: str, token: int, *, type: str, number: int | None = None) -> None:
    """Limit the restart `token` to `type` (or `type.number`): all other live instances count as restarted."""
    tx.execute(
        "UPDATE instance SET restart_token = ? WHERE app_id = ? AND ended_at IS NULL AND restart_token = ? - 1"
        " AND NOT (type = ? AND (? IS NULL OR (number = ? AND canary = 0)))",
        (token, app_id, token, type, number, number),
    )


def prune(tx: Tx, app_id: str, keep: int = 100) -> list[int]:
    """Delete ended instances, except the app's newest `keep` and the last of each type, whose number the next one
    follows; returns the deleted ids."""
    rows = tx.execute(
        "DELETE FROM instance WHERE app_id = ? AND ended_at IS NOT NULL AND id NOT IN"
        " (SELECT id FROM instance WHERE app_id = ? ORDER BY id DESC LIMIT ?) AND id NOT IN"
        " (SELECT max(id) FROM instance WHERE app_id = ? GROUP BY type) RETURNING id",
        (app_id, app_id, keep, app_id),
    )
    return [row[0] for row in rows]
