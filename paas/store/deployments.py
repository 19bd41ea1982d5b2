"""Rows of `deployment` and `deployment_line`: moving an app from one release to the next."""

from __future__ import annotations

import json
from typing import Any

from paas.nouns import lifecycle
from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import Deployment
from paas.store import apps, canaries, formations, releases
from paas.store.database import Tx, now
from paas.store.table import Table

_PUSHED = (
    "push = 1 AND EXISTS (SELECT 1 FROM release WHERE release.app_id = deployment.app_id"
    " AND release.number = deployment.release_number AND release.origin = '')"
)
"""Deployments of a push: neither of an archive nor of a repository elsewhere."""

DEPLOYMENTS = Table("deployment", Deployment, json=("error",), flags=("push", "cancel_requested"))


def create(
    tx: Tx, app_id: str, *, release_number: int, from_release: int | None, push: bool = False
) -> Deployment:
    """Raises Conflict while another deployment of the app is unfinished."""
    if unfinished_of(tx, app_id):
        raise Conflict("Another deployment of this app is under way.", "Wait until it has finished.")
    at = now()
    DEPLOYMENTS.insert(
        tx,
        {
            "app_id": app_id,
            "release_number": release_number,
            "from_release": from_release,
            "push": push,
            "state": "pending",
            "created_at": at,
            "step_at": at,
        },
    )
    return get(tx, tx.last_insert_rowid())


def get(tx: Tx, id: int) -> Deployment:
    """Raises NotFound."""
    found = DEPLOYMENTS.find(tx, id=id)
    if found is None:
        raise NotFound(f"There is no deployment {id}.")
    return found


def unfinished(tx: Tx) -> list[Deployment]:
    return DEPLOYMENTS.select(tx, "WHERE finished_at IS NULL ORDER BY id")


def unfinished_of(tx: Tx, app_id: str) -> Deployment | None:
    return DEPLOYMENTS.first(tx, "WHERE app_id = ? AND finished_at IS NULL", (app_id,))


def newest_push(tx: Tx, app_id: str) -> Deployment | None:
    """The newest deployment of what `git push` brought."""
    return DEPLOYMENTS.first(tx, f"WHERE app_id = ? AND {_PUSHED} ORDER BY id DESC LIMIT 1", (app_id,))


def advance(tx: Tx, id: int, state: str, error: dict[str, Any] | None = None) -> Deployment:
    """Enter `state`; the release follows in the same transaction. Raises lifecycle.WrongTransition.

    Entering `draining` is the commit point: the release has succeeded and is the app's, and a canary ends. Entering
    `failed` or `cancelled` marks the release so, with the cause of `error` (PaasError.to_json()), unless it goes on
    as the canary.
    """
    deployment = get(tx, id)
    lifecycle.check(lifecycle.DEPLOYMENT, deployment.state, state)
    at = now()
    tx.execute(
        "UPDATE deployment SET state = ?, step_at = ?, error = ?, finished_at = ? WHERE id = ?",
        (
            state,
            at,
            json.dumps(error) if error else None,
            at if state in lifecycle.FINISHED_DEPLOYMENT else None,
            id,
        ),
    )
    app_id, number = deployment.app_id, deployment.release_number
    if state == lifecycle.COMMITTED:
        releases.set_state(tx, app_id, number, "succeeded")
        apps.set_release(tx, app_id, number)
        canaries.end(tx, app_id, actor="paas", why=f"v{number} serves")
    elif state in ("failed", "cancelled"):
        canary = canaries.of_app(tx, app_id)
        if canary is None or canary.release_number != number:
            releases.set_state(tx, app_id, number, state, cause=str((error or {}).get("cause", "")))
        _give_back(tx, app_id)
    return get(tx, id)


def _give_back(tx: Tx, app_id: str) -> None:
    """After a failure the limits are those of the release that still serves, and process types that never served are
    forgotten: the app has what it had before."""
    serving = releases.serving(tx, apps.get(tx, app_id))
    formations.forget_unserved(tx, app_id)
    for entry in formations.of_app(tx, app_id).values():
        limits = serving.limits.get(entry.type, {}) if serving else {}
        if entry.limits != limits:
            formations.set_limits(tx, app_id, entry.type, limits)


def request_cancel(tx: Tx, id: int) -> None:
    """Ask the loop to give up; after the commit point it has no effect."""
    tx.execute("UPDATE deployment SET cancel_requested = 1 WHERE id = ? AND finished_at IS NULL", (id,))


def add_line(tx: Tx, id: int, text: str) -> None:
    """One line of progress, in the grammar of the push."""
    tx.execute(
        "INSERT INTO deployment_line (deployment_id, seq, text)"
        " SELECT ?, coalesce(max(seq), 0) + 1, ? FROM deployment_line WHERE deployment_id = ?",
        (id, text, id),
    )


def lines(tx: Tx, id: int, after: int = 0) -> list[tuple[int, str]]:
    """`(seq, text)` of the lines behind `after`."""
    sql = "SELECT seq, text FROM deployment_line WHERE deployment_id = ? AND seq > ? ORDER BY seq"
    return [(row[0], row[1]) for row in tx.execute(sql, (id, after))]


def pushed_commit(tx: Tx, app_id: str) -> str | None:
    """The commit of the newest push that passed the commit point: what the deploy branch must point at.

    What came from elsewhere does not count: the app's repository does not have its commits.
    """
    row = tx.execute(
        "SELECT release.commit_sha FROM deployment JOIN release ON release.app_id = deployment.app_id"
        " AND release.number = deployment.release_number"
        " WHERE deployment.app_id = ? AND push = 1 AND release.origin = '' AND deployment.state IN ('draining', 'succeeded')"
        " ORDER BY deployment.id DESC LIMIT 1",
        (app_id,),
    ).fetchone()
    return str(row[0]) if row and row[0] else None


def prune(tx: Tx, app_id: str, keep: int) -> None:
    """Delete finished deployments, except the newest `keep` and the newest successful push."""
    tx.execute(
        "DELETE FROM deployment WHERE app_id = ?1 AND finished_at IS NOT NULL AND id NOT IN"
        " (SELECT id FROM deployment WHERE app_id = ?1 ORDER BY id DESC LIMIT ?2) AND id NOT IN"
        f" (SELECT coalesce(max(id), 0) FROM deployment WHERE app_id = ?1 AND {_PUSHED} AND state = 'succeeded')",
        (app_id, keep),
    )
