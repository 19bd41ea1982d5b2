"""Following the instances of an app after a change of scale, a stop or a restart."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from paas.build.platform import Platform
from paas.daemon.wakeup import Waiter
from paas.nouns.errors import DeployFailed
from paas.nouns.model import Instance
from paas.release.deployment import Cancel, never
from paas.store import Store, Tx, apps, desired, instances

FOLLOW_S = 120.0


def follow_formation(
    platform: Platform, app_id: str, types: Collection[str], *, cancelled: Cancel = never
) -> Iterator[str]:
    """Yield a line per instance that comes up or goes down.

    Ends when the live instances of `types` are those that are wanted, or when nobody listens any more.
    Raises DeployFailed when one of them ended during its boot or when it takes longer than two minutes;
    the platform goes on trying either way.
    """
    deadline = time.monotonic() + FOLLOW_S
    progress = _Progress(platform.store, app_id, types)
    with Waiter(platform.layout) as waiter:
        while not cancelled():
            yield from progress.look()
            if not progress.missing:
                return
            if time.monotonic() > deadline:
                raise DeployFailed(
                    f"Not there yet after {FOLLOW_S:.0f} s: {', '.join(progress.missing)}.",
                    "The platform goes on trying. See: paas ps",
                )
            waiter.wait(cancelled)


class _Progress:
    """Which instances have been seen in which state; `missing` names those that are not yet as wanted."""

    def __init__(self, store: Store, app_id: str, types: Collection[str]) -> None:
        self._store, self._app_id, self._types = store, app_id, types
        self.missing: list[str] = []
        with store.read() as tx:
            app = apps.by_id(tx, app_id)
            live = _live(tx, app_id, types)
        # Instances of another release belong to a deployment, which tells of them itself.
        self._others = {i.id for i in live if app is None or i.release_number != app.release_number}
        self._known = {i.id: i.state for i in live if i.id not in self._others}

    def look(self) -> Iterator[str]:
        """A line for each instance that has changed since the last look."""
        with self._store.read() as tx:
            self.missing = _missing(tx, self._app_id, self._types)
            live = _live(tx, self._app_id, self._types)
            rows = {i.id: i for i in live if i.id not in self._others}
            gone = [instances.get(tx, id) for id in self._known if id not in rows]
        for row in [*gone, *rows.values()]:
            before = self._known.get(row.id, "")
            if line := change_line(before, row):
                yield line
            self._known[row.id] = row.state
            if row.state == "ended":
                del self._known[row.id]
                if before == "starting" and row.cause not in ("", "stopped"):
                    raise DeployFailed(
                        f"{row.name} did not come up: {row.cause}.", "See: paas logs", cause=row.cause
                    )


def _live(tx: Tx, app_id: str, types: Collection[str]) -> list[Instance]:
    return [i for i in instances.live_of(tx, app_id) if i.kind == "process" and i.type in types]


def _missing(tx: Tx, app_id: str, types: Collection[str]) -> list[str]:
    """Names of instances that still have to come up or to go."""
    app = apps.by_id(tx, app_id)
    if app is None or app.release_number is None:
        return []
    wish = desired.of_app(tx, app)
    wanted = {slot for slot in wish.wanted(wish.image) if slot[0] in types}
    live = [i for i in _live(tx, app_id, types) if not i.canary]
    up = {
        i.slot
        for i in live
        if i.state == "up" and i.restart_token >= app.restart_token and i.release_number == app.release_number
    }
    stale = {
        i.slot
        for i in live
        if (i.state == "up" and i.restart_token < app.restart_token)
        or (i.state in ("starting", "up") and i.slot not in wanted)
    }
    return [f"{kind}.{number}" for kind, number in sorted((wanted - up) | stale)]


def change_line(before: str, row: Instance) -> str:
    """The line about an instance that was in state `before`; empty if there is nothing to say."""
    if before == row.state:
        return ""
    if row.state == "up" and row.healthy_at is not None:
        return f"{row.name} up (healthy after {row.healthy_at - row.created_at:.2f} s)"
    if row.state in ("draining", "stopping") and before not in ("draining", "stopping"):
        return f"{row.name} stopping"
    if row.state == "ended" and before in ("up", "starting") and row.cause:
        return f"{row.name} ended: {row.cause}"
    return f"{row.name} stopped" if row.state == "ended" else ""
