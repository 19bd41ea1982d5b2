"""Opening a deployment, following it to its end, and asking for a restart: what the api and a push call.

A deployment is a row; converge moves it. Everything here is transactions and waiting, nothing runs in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from paas.nouns.errors import Cancelled, Conflict, DeployFailed, NotFound, PaasError, from_json
from paas.nouns.model import Deployment, Instance, Release
from paas.release.capacity import OVERCOMMIT, admitted
from paas.release.release import Change, next_release, promoted
from paas.store import (
    Store,
    Tx,
    apps,
    deployments,
    desired,
    events,
    formations,
    instances,
    releases,
)

WAIT_S = 900.0
POLL_S = 0.03


def open_deployment(
    store: Store,
    poke: Callable[[], None],
    app_id: str,
    change: Change,
    *,
    actor: str,
    description: str,
    push: bool = False,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    overcommit: float = OVERCOMMIT,
) -> tuple[Release, Deployment | None]:
    """Make the next release and its deployment in one transaction, after earlier deployments have finished.

    While another deployment of the app is unfinished, `on_wait` hears once who is deploying what since when.
    The deployment is None when the app has no image yet: then the release only records the new state.
    Raises Conflict after `wait_s` (0: at once), Cancelled while it waits, NotFound when the app is gone, BadInput
    for an impossible change, or one that does not fit into the machine (`overcommit` times its memory).
    """
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        with store.write() as tx:
            busy = deployments.unfinished_of(tx, app_id)
            if busy is None:
                with admitted(tx, overcommit):
                    opened = _open(tx, app_id, change, actor=actor, description=description, push=push)
                break
            sentence = holder_sentence(tx, busy)
        if time.monotonic() >= deadline:
            raise Conflict(sentence, "Try again when it has finished.")
        if cancelled():
            raise Cancelled("Cancelled while waiting; nothing was changed.", cause="cancelled")
        if on_wait is not None and not told:
            on_wait(sentence)
            told = True
        time.sleep(0.1)
    poke()
    return opened


def follow(
    store: Store,
    deployment_id: int,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    poke: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Yield the deployment's progress lines until it has succeeded.

    When `cancelled` turns true a cancel is asked for (it has no effect after the commit point) and the stream
    goes on to the true end. Raises DeployFailed or Cancelled, with the diagnosis.
    """
    seen, asked, told = 0, False, set[str]()
    while True:
        try:
            with store.read() as tx:
                deployment = deployments.get(tx, deployment_id)
                lines = deployments.lines(tx, deployment_id, seen)
        except NotFound:
            gone = "The app was destroyed during the deployment."
            raise DeployFailed(gone, cause="app destroyed") from None
        for seq, text in lines:
            seen = seq
            told.add(text.strip())
            yield text
        if deployment.finished_at is not None:
            if deployment.state != "succeeded":
                raise _without_repetition(failure_of(deployment), told)
            return
        if not asked and cancelled():
            asked = True
            with store.write() as tx:
                deployments.request_cancel(tx, deployment_id)
            poke()
        time.sleep(POLL_S)


def _without_repetition(error: PaasError, told: Collection[str]) -> PaasError:
    """A release command's output is evidence that has been told already, while it ran."""
    if error.lines and all(line.strip() in told for line in error.lines if line.strip()):
        error.hint, error.lines = error.hint.replace("output is below", "output is above"), ()
    return error


def follow_formation(
    store: Store,
    app_id: str,
    types: Collection[str],
    *,
    cancelled: Callable[[], bool] = lambda: False,
    timeout_s: float = 120.0,
) -> Iterator[str]:
    """After a change of scale, a stop or a restart: yield a line per instance that comes up or goes down.

    Ends when the live instances of `types` are those that are wanted, or when nobody listens any more.
    Raises DeployFailed when one of them ended during its boot or when it takes longer than `timeout_s`;
    the platform goes on trying either way.
    """
    deadline = time.monotonic() + timeout_s
    with store.read() as tx:
        app = apps.by_id(tx, app_id)
        live = [i for i in instances.live_of(tx, app_id) if i.kind == "process" and i.type in types]
    old = {i.id for i in live if app is None or i.release_number != app.release_number}
    known = {i.id: i.state for i in live if i.id not in old}
    while not cancelled():
        with store.read() as tx:
            missing = _missing(tx, app_id, types)
            live = [i for i in instances.live_of(tx, app_id) if i.kind == "process" and i.type in types]
            rows = {i.id: i for i in live if i.id not in old}
            gone = [instances.get(tx, id) for id in known if id not in rows]
        for row in [*gone, *rows.values()]:
            before = known.get(row.id, "")
            line = change_line(before, row)
            if line:
                yield line
            known[row.id] = row.state
            if row.state == "ended":
                del known[row.id]
                if before == "starting" and row.cause not in ("", "stopped"):
                    raise DeployFailed(
                        f"{row.name} did not come up: {row.cause}.", "See: paas logs", cause=row.cause
                    )
        if not missing:
            return
        if time.monotonic() > deadline:
            raise DeployFailed(
                f"Not there yet after {timeout_s:.0f} s: {', '.join(missing)}.",
                "The platform goes on trying. See: paas ps",
            )
        time.sleep(POLL_S)


def failure_of(deployment: Deployment) -> PaasError:
    """The error a failed or cancelled deployment ended with."""
    if deployment.error is not None:
        return from_json(deployment.error, DeployFailed.http_status)
    if deployment.state == "cancelled":
        return Cancelled(f"Release v{deployment.release_number} was cancelled.", cause="cancelled")
    return DeployFailed(f"Release v{deployment.release_number} failed.", cause="failed")


def restart(
    store: Store,
    poke: Callable[[], None],
    app_id: str,
    *,
    actor: str,
    type: str | None = None,
    number: int | None = None,
    overcommit: float = OVERCOMMIT,
) -> int:
    """Ask for a rolling restart of all processes, of one type, or of one instance (`type` and `number`).

    Also starts again what was stopped. Returns the restart token: an instance with a lower one is to be replaced.
    """
    with store.write() as tx, admitted(tx, overcommit):
        token = apps.bump_restart(tx, app_id)
        if type is not None:
            instances.spare_restart(tx, app_id, token, type=type, number=number)
        for entry in formations.of_app(tx, app_id).values():
            if entry.stopped and type in (None, entry.type):
                formations.set_stopped(tx, app_id, entry.type, False)
        what = "all" if type is None else type if number is None else f"{type}.{number}"
        events.add(tx, app_id, actor, "ps.restart", {"what": what})
    poke()
    return token


def _missing(tx: Tx, app_id: str, types: Collection[str]) -> list[str]:
    """The names of instances that are not yet as wanted: to come up, or to go."""
    app = apps.by_id(tx, app_id)
    if app is None or app.release_number is None:
        return []
    wish = desired.of_app(tx, app)
    wanted = {slot for slot in wish.wanted(wish.image) if slot[0] in types}
    live = [
        i for i in instances.live_of(tx, app_id) if i.kind == "process" and i.type in types and not i.canary
    ]
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
    """What to tell of an instance that was in state `before`; empty when that is nothing."""
    if before == row.state:
        return ""
    if row.state == "up" and row.healthy_at is not None:
        return f"{row.name} up (healthy after {row.healthy_at - row.created_at:.2f} s)"
    if row.state in ("draining", "stopping") and before not in ("draining", "stopping"):
        return f"{row.name} stopping"
    if row.state == "ended" and before in ("up", "starting") and row.cause:
        return f"{row.name} ended: {row.cause}"
    return f"{row.name} stopped" if row.state == "ended" else ""


def _open(
    tx: Tx, app_id: str, change: Change, *, actor: str, description: str, push: bool
) -> tuple[Release, Deployment | None]:
    app = apps.by_id(tx, app_id)
    if app is None or app.destroying:
        raise NotFound("This app does not exist any more.")
    base = releases.serving(tx, app)
    tried = promoted(tx, app, change)
    release = tried or next_release(tx, app, base, change, actor=actor, description=description)
    if release.image_digest is None:
        apps.set_release(tx, app_id, release.number)
        return release, None
    deployment = deployments.create(
        tx,
        app_id,
        release_number=release.number,
        from_release=base.number if base and base.image_digest else None,
        push=push or tried is not None,
    )
    return release, deployment


def holder_sentence(tx: Tx, busy: Deployment) -> str:
    """Who is deploying what since when."""
    release = releases.get(tx, busy.app_id, busy.release_number)
    who = release.actor if release else "somebody"
    what = release.description if release else "a release"
    since = time.strftime("%H:%M:%S", time.gmtime(busy.created_at))
    return f"{who} is deploying v{busy.release_number} ({what}) since {since} UTC."
