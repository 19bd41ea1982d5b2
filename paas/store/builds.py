"""Rows of `build`."""

from __future__ import annotations

from paas.nouns.model import Build
from paas.store.database import Tx, now, one
from paas.store.table import Table

BUILDS = Table("build", Build, renamed={"commit": "commit_sha"})


def start(tx: Tx, app_id: str, *, commit: str, tree: str, actor: str, holder: str, origin: str = "") -> Build:
    """A running build with the app's next number; `holder` names the process that builds."""
    number = BUILDS.next_number(tx, "WHERE app_id = ?", (app_id,))
    values = {"commit": commit, "tree": tree, "actor": actor, "status": "running", "holder": holder}
    values["origin"] = origin
    BUILDS.insert(tx, {"app_id": app_id, "number": number, **values, "started_at": now()})
    build = get(tx, app_id, number)
    assert build is not None
    return build


def finish(
    tx: Tx, app_id: str, number: int, status: str, *, cause: str = "", image_digest: str | None = None
) -> None:
    """`status` is succeeded, failed or cancelled. A finished build stays as it is."""
    tx.execute(
        "UPDATE build SET status = ?, cause = ?, image_digest = ?, finished_at = ?"
        " WHERE app_id = ? AND number = ? AND status = 'running'",
        (status, cause, image_digest, now(), app_id, number),
    )


def get(tx: Tx, app_id: str, number: int) -> Build | None:
    return BUILDS.find(tx, app_id=app_id, number=number)


def of_app(tx: Tx, app_id: str, limit: int = 50) -> list[Build]:
    """Newest first."""
    return BUILDS.select(tx, "WHERE app_id = ? ORDER BY number DESC LIMIT ?", (app_id, limit))


def of_image(tx: Tx, app_id: str, image_digest: str) -> Build | None:
    """The newest build that made this image."""
    return BUILDS.first(
        tx, "WHERE app_id = ? AND image_digest = ? ORDER BY number DESC LIMIT 1", (app_id, image_digest)
    )


def began_at(tx: Tx, app_id: str, image_digest: str) -> float | None:
    """When the newest build that made this image began."""
    sql = "SELECT max(started_at) FROM build WHERE app_id = ? AND image_digest = ?"
    (at,) = one(tx, sql, (app_id, image_digest))
    return None if at is None else float(at)


def running(tx: Tx) -> list[Build]:
    return BUILDS.select(tx, "WHERE status = 'running'")


def delete(tx: Tx, app_id: str, number: int) -> None:
    BUILDS.delete(tx, app_id=app_id, number=number)
