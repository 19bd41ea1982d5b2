"""A canary: a release beside the serving one that gets a share of the requests until someone promotes or stops it, or
a deployment ends it. These functions change and follow its row; converge runs its instances."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from paas.build.platform import Platform
from paas.daemon.wakeup import Waiter
from paas.nouns.errors import BadInput, Cancelled, Conflict, DeployFailed, NotFound, PaasError, from_json
from paas.nouns.model import CANARY, App, Canary, Instance, Release
from paas.nouns.names import CANARY_SHARE
from paas.nouns.text import WARNING
from paas.release.change import Push, rollback_target
from paas.release.deployment import Cancel, holder_sentence, never
from paas.release.formation import change_line
from paas.release.release import next_release
from paas.runs.specs import WEB
from paas.store import Tx, apps, canaries, deployments, desired, events, images, instances

FOLLOW_S = 120.0


def begin_pushed(tx: Tx, app: App, change: Push, *, share: int) -> tuple[Release, Canary]:
    """Make the next release and its canary; the release does not serve yet. Raises BadInput or Conflict."""
    serving = check_beside(tx, app.id)
    release = next_release(tx, apps.get(tx, app.id), serving, change)
    _check_web(tx, app, release, serving)
    return release, _put(tx, app.id, release.number, share=share, quantity=1, actor=change.actor)


def begin(tx: Tx, app: App, number: int, *, share: int | None, quantity: int | None, actor: str) -> Canary:
    """Make release `number` the canary, or update its share and count if it already is.

    Raises BadInput or Conflict when it cannot be one, NotFound when there is no such release.
    """
    before = canaries.of_app(tx, app.id)
    if before is None or before.release_number != number:
        serving, target = check_beside(tx, app.id), rollback_target(tx, app, number)
        if target.number == serving.number:
            raise BadInput(f"v{number} serves already.", "Name another release, see: paas releases")
        _check_web(tx, app, target, serving)
    return _put(
        tx,
        app.id,
        number,
        share=share if share is not None else before.share if before else CANARY_SHARE,
        quantity=quantity or (before.quantity if before else 1),
        actor=actor,
    )


def _put(tx: Tx, app_id: str, number: int, *, share: int, quantity: int, actor: str) -> Canary:
    events.add(tx, app_id, actor, "canary.set", {"release": number, "share": share, "quantity": quantity})
    return canaries.put(tx, app_id, number, share=share, quantity=quantity)


def check_beside(tx: Tx, app_id: str) -> Release:
    """Return the serving release if a canary can start beside it now. Raises Conflict, NotFound."""
    app = apps.get(tx, app_id)
    if app.destroying:
        raise NotFound("This app does not exist any more.")
    busy = deployments.unfinished_of(tx, app.id)
    if busy is not None:
        raise Conflict(holder_sentence(tx, busy), "Try again when it has finished.")
    before = canaries.of_app(tx, app.id)
    if before is not None:
        raise Conflict(
            f"v{before.release_number} is the canary of {app.name} already.",
            "See: paas canary:promote, paas canary:stop",
        )
    wish = desired.of_app(tx, app)
    serving = wish.release
    if serving is None or serving.image_digest is None or not wish.web_count:
        raise Conflict(f"{app.name} runs no web process.", "A canary runs beside one: paas scale web=1")
    return serving


def _check_web(tx: Tx, app: App, target: Release, serving: Release) -> None:
    if WEB not in _processes(tx, target):
        raise BadInput(f"v{target.number} has no web process.")
    if CANARY in {**_processes(tx, target), **_processes(tx, serving)}:
        raise BadInput(
            f"{app.name} has a process type named canary, which a canary's instances are called.",
            "Give it another name in the Procfile.",
        )


def _processes(tx: Tx, release: Release) -> dict[str, str]:
    image = images.of(tx, release)
    return image.processes if image else {}


def come_up(
    platform: Platform,
    canary: Canary,
    *,
    since: float,
    tell: Callable[[str], None],
    cancelled: Cancel = never,
) -> Iterator[str]:
    """Wait for a new canary to come up; if it fails, stop it and `tell` that to the app's log. Raises DeployFailed,
    Cancelled."""
    number = canary.release_number
    try:
        yield from follow(platform, canary, since=since, cancelled=cancelled)
        if cancelled():
            raise Cancelled(f"The canary v{number} was cancelled.", cause="cancelled")
    except PaasError as error:
        with platform.store.write() as tx:
            ended = _is_same(canaries.of_app(tx, canary.app_id), canary)
            if ended:
                canaries.end(tx, canary.app_id, actor="paas", why=error.cause or "did not come up")
        platform.poke()
        if ended:
            tell(f"Canary v{number} ended: {error.message}")
            yield f"{WARNING}The canary v{number} is stopped"
        raise


def _is_same(now: Canary | None, canary: Canary) -> bool:
    """Whether the canary is still this one; its share and count may have changed."""
    return now is not None and now.created_at == canary.created_at


def follow(platform: Platform, canary: Canary, *, since: float, cancelled: Cancel = never) -> Iterator[str]:
    """Yield a line per instance of the canary that comes up or ends after `since` (unix time), until all are up, or
    none is wanted since web does not run.

    Raises DeployFailed when one ends during its boot, when that takes longer than two minutes, or when the canary
    has been ended meanwhile.
    """
    deadline = time.monotonic() + FOLLOW_S
    known: dict[int, str] = {}
    with Waiter(platform.layout) as waiter:
        while not cancelled():
            with platform.store.read() as tx:
                app = apps.by_id(tx, canary.app_id)
                wish = desired.of_app(tx, app) if app is not None else None
                now = wish.canary if wish is not None else None
                rows = _rows(tx, now, since) if now is not None else []
            if app is None or wish is None or not _is_same(now, canary):
                raise DeployFailed(
                    "The canary was ended meanwhile.", "See: paas releases", cause="canary ended"
                )
            for row in rows:
                if row.crashed and row.healthy_at is None:
                    raise _failure_of(row)
                if line := change_line(known.get(row.id, ""), row):
                    yield line
                known[row.id] = row.state
            up = {i.number for i in rows if i.state == "up" and i.restart_token >= app.restart_token}
            if up >= {number for _, number in wish.wanted_canary()}:
                return
            if time.monotonic() > deadline:
                raise DeployFailed(f"The canary did not come up within {FOLLOW_S:.0f} s.", "See: paas ps")
            waiter.wait(cancelled)


def _rows(tx: Tx, canary: Canary, since: float) -> list[Instance]:
    slots = range(1, canary.quantity + 1)
    recent = [i for n in slots for i in instances.recent_of_slot(tx, canary.app_id, WEB, n, canary=True)]
    return [
        i
        for i in sorted(recent, key=lambda i: i.id)
        if i.release_number == canary.release_number and (i.ended_at is None or i.created_at >= since)
    ]


def _failure_of(instance: Instance) -> PaasError:
    found = instance.detail.get("diagnosis")
    if isinstance(found, dict):
        return from_json(found, DeployFailed.http_status)
    return DeployFailed(
        f"{instance.name} did not come up: {instance.cause}.", "See: paas logs", cause=instance.cause
    )


def running(tx: Tx, app: App) -> Canary:
    """The app's canary. Raises NotFound."""
    canary = canaries.of_app(tx, app.id)
    if canary is None:
        raise NotFound(f"{app.name} has no canary.", "Begin one: paas canary v12 --share 10")
    return canary
