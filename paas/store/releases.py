"""Rows of `release`."""

from __future__ import annotations

import json
from collections.abc import Collection

from paas.nouns.model import App, Release
from paas.store.database import Tx, now
from paas.store.table import Table

CONFIGS_SHOWN = 10
"""People can see the config vars of this many newest releases, whatever became of them."""
RELEASES = Table("release", Release, json=("limits",), renamed={"commit": "commit_sha"})


def create(
    tx: Tx,
    app_id: str,
    *,
    image_digest: str | None,
    config_number: int,
    limits: dict[str, dict[str, int]],
    description: str,
    commit: str | None,
    actor: str,
    state: str = "pending",
    origin: str = "",
) -> Release:
    """The app's next release."""
    number = RELEASES.next_number(tx, "WHERE app_id = ?", (app_id,))
    RELEASES.insert(
        tx,
        {
            "app_id": app_id,
            "number": number,
            "image_digest": image_digest,
            "config_number": config_number,
            "limits": limits,
            "description": description,
            "commit": commit,
            "actor": actor,
            "state": state,
            "origin": origin,
            "created_at": now(),
        },
    )
    release = get(tx, app_id, number)
    assert release is not None
    return release


def get(tx: Tx, app_id: str, number: int) -> Release | None:
    return RELEASES.find(tx, app_id=app_id, number=number)


def serving(tx: Tx, app: App) -> Release | None:
    """The release that serves; before the first push the one that holds the config vars, if there is one."""
    return None if app.release_number is None else get(tx, app.id, app.release_number)


def of_app(tx: Tx, app_id: str, limit: int = 1000) -> list[Release]:
    """Newest first."""
    return RELEASES.select(tx, "WHERE app_id = ? ORDER BY number DESC LIMIT ?", (app_id, limit))


def set_state(tx: Tx, app_id: str, number: int, state: str, *, cause: str = "") -> None:
    tx.execute(
        "UPDATE release SET state = ?, cause = ? WHERE app_id = ? AND number = ?",
        (state, cause, app_id, number),
    )


def made_since(tx: Tx, app_id: str, moment: float) -> list[float]:
    """When (unix seconds) releases of the app were made since then, oldest first."""
    sql = "SELECT created_at FROM release WHERE app_id = ? AND created_at > ? ORDER BY created_at"
    return [float(at) for (at,) in tx.execute(sql, (app_id, moment))]


def used_configs(tx: Tx, app_id: str, newest: int) -> set[int]:
    """The numbers of the configurations of releases that have an image, have not ended, or are the `newest`, and of the
    app's own, which before the first push has no image and may be older than many that failed."""
    sql = (
        "SELECT config_number FROM release WHERE app_id = ?1 AND (image_digest IS NOT NULL OR state = 'pending'"
        " OR number > (SELECT max(number) FROM release WHERE app_id = ?1) - ?2"
        " OR number = (SELECT release_number FROM app WHERE id = ?1))"
    )
    return {int(number) for (number,) in tx.execute(sql, (app_id, newest))}


def prune(tx: Tx, app_id: str, keep: int, used: Collection[int]) -> None:
    """Delete all releases except the newest `keep`, the `used` ones, and those that a deployment names."""
    tx.execute(
        "DELETE FROM release WHERE app_id = ?1 AND number NOT IN (SELECT value FROM json_each(?3))"
        " AND number <= (SELECT max(number) FROM release WHERE app_id = ?1) - ?2"
        " AND number NOT IN (SELECT release_number FROM deployment WHERE app_id = ?1)",
        (app_id, keep, json.dumps(sorted(used))),
    )


def forget_image(tx: Tx, app_id: str, digest: str) -> None:
    """Old releases keep their row when their image is collected; they cannot be rolled back to."""
    tx.execute(
        "UPDATE release SET image_digest = NULL WHERE app_id = ? AND image_digest = ?", (app_id, digest)
    )
