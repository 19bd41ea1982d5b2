"""Opening a deployment, following it to its end, and asking for a restart: what the api and a push call.

A deployment is a row; converge moves it. Everything here is transactions and waiting, nothing runs in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from paas.build.platform import Platform
from paas.daemon.wakeup import Waiter
from paas.nouns.errors import Cancelled, Conflict, DeployFailed, NotFound, PaasError, from_json
from paas.nouns.model import Deployment, Release
from paas.release.capacity import admitted
from paas.release.change import Change, Promote, Push
from paas.release.release import next_release, promoted
from paas.store import Tx, apps, deployments, events, formations, instances, releases
from runtime.image.ocilayout import ImageStore

WAIT_S = 900.0

Cancel = Callable[[], bool]
"""Whether the caller has given up: a client hung up, say."""


def never() -> bool:
    """A `Cancel` that never cancels."""
    return False


def open_deployment(
    platform: Platform,
    app_id: str,
    change: Change,
    *,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] = lambda sentence: None,
    cancelled: Cancel = never,
) -> tuple[Release, Deployment | None]:
    """Make the next release and its deployment in one transaction, after earlier deployments have finished.

    While another deployment of the app is unfinished, `on_wait` hears once who is deploying what since when.
    The deployment is None when the app has no image yet: then the release only records the new state.
    Raises Conflict after `wait_s` (0: at once), Cancelled while it waits, NotFound when the app is gone, BadInput
    for an impossible change, or one that does not fit into the machine's memory.
    """
    deadline = time.monotonic() + wait_s
    announced = False
    with Waiter(platform.layout) as waiter:
        while True:
            with platform.store.write() as tx:
                busy = deployments.unfinished_of(tx, app_id)
                if busy is None:
                    with admitted(tx, platform.settings.memory_overcommit):
                        opened = _open(tx, app_id, change)
                    break
                sentence = holder_sentence(tx, busy)
            if time.monotonic() >= deadline:
                raise Conflict(sentence, "Try again when it has finished.")
            if cancelled():
                raise Cancelled("Cancelled while waiting; nothing was changed.", cause="cancelled")
            if not announced:
                on_wait(sentence)
            announced = True
            waiter.wait(cancelled)
    platform.poke()
    return opened


def deploy(
    platform: Platform,
    app_id: str,
    change: Push,
    line: Callable[[str], None],
    *,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] = lambda sentence: None,
    cancelled: Cancel = never,
) -> Release:
    """Make a release of an image and see it serve; `line` hears how it goes. Raises as `open_deployment` and `follow` do."""
    release, deployment = open_deployment(
        platform, app_id, change, wait_s=wait_s, on_wait=on_wait, cancelled=cancelled
    )
    assert deployment is not None  # a release with an image has one
    tag(platform, release)
    # converge takes it from here, beginning in rollout.next_step; its progress comes back as lines
    for text in follow(platform, deployment.id, cancelled=cancelled):
        line(text)
    return release


def tag(platform: Platform, release: Release) -> None:
    """Name the release's image in the image layout."""
    store = ImageStore(platform.layout.images, platform.layout.stacks)
    store.tag(f"{release.app_id}.v{release.number}", release.image_digest or "")


def _open(tx: Tx, app_id: str, change: Change) -> tuple[Release, Deployment | None]:
    app = apps.by_id(tx, app_id)
    if app is None or app.destroying:
        raise NotFound("This app does not exist any more.")
    base = releases.serving(tx, app)
    tried = promoted(tx, app, change) if isinstance(change, Promote) else None
    release = tried or next_release(tx, app, base, change)
    if release.image_digest is None:
        apps.set_release(tx, app_id, release.number)
        return release, None
    deployment = deployments.create(
        tx,
        app_id,
        release_number=release.number,
        from_release=base.number if base and base.image_digest else None,
        push=isinstance(change, Push) or tried is not None,
    )
    return release, deployment


def holder_sentence(tx: Tx, busy: Deployment) -> str:
    """Describe the deployment under way: actor, release and start."""
    release = releases.get(tx, busy.app_id, busy.release_number)
    who = release.actor if release else "somebody"
    what = release.description if release else "a release"
    since = time.strftime("%H:%M:%S", time.gmtime(busy.created_at))
    return f"{who} is deploying v{busy.release_number} ({what}) since {since} UTC."


def follow(platform: Platform, deployment_id: int, *, cancelled: Cancel = never) -> Iterator[str]:
    """Yield the deployment's progress lines until it has succeeded.

    When `cancelled` turns true a cancel is requested (it has no effect after the commit point) and the stream
    goes on to the true end. Raises DeployFailed or Cancelled, with the diagnosis.
    """
    seen, requested, shown = 0, False, set[str]()
    with Waiter(platform.layout) as waiter:
        while True:
            try:
                with platform.store.read() as tx:
                    deployment = deployments.get(tx, deployment_id)
                    lines = deployments.lines(tx, deployment_id, seen)
            except NotFound:
                gone = "The app was destroyed during the deployment."
                raise DeployFailed(gone, cause="app destroyed") from None
            for seq, text in lines:
                seen = seq
                shown.add(text.strip())
                yield text
            if deployment.finished_at is not None:
                if deployment.state != "succeeded":
                    raise _without_repetition(failure_of(deployment), shown)
                return
            if not requested and cancelled():
                requested = True
                with platform.store.write() as tx:
                    deployments.request_cancel(tx, deployment_id)
                platform.poke()
            waiter.wait(cancelled)


def _without_repetition(error: PaasError, shown: Collection[str]) -> PaasError:
    """Leave out a release command's output when it has been shown while the command ran."""
    if error.lines and all(line.strip() in shown for line in error.lines if line.strip()):
        error.hint, error.lines = error.hint.replace("output is below", "output is above"), ()
    return error


def failure_of(deployment: Deployment) -> PaasError:
    """The error a failed or cancelled deployment ended with."""
    if deployment.error is not None:
        return from_json(deployment.error, DeployFailed.http_status)
    if deployment.state == "cancelled":
        return Cancelled(f"Release v{deployment.release_number} was cancelled.", cause="cancelled")
    return DeployFailed(f"Release v{deployment.release_number} failed.", cause="failed")


def restart(
    platform: Platform, app_id: str, *, actor: str, type: str | None = None, number: int | None = None
) -> int:
    """Ask for a rolling restart of all processes, of one type, or of one instance (`type` and `number`).

    Also starts again what was stopped. Returns the restart token: an instance with a lower one is to be replaced.
    """
    with platform.store.write() as tx, admitted(tx, platform.settings.memory_overcommit):
        token = apps.bump_restart(tx, app_id)
        if type is not None:
            instances.spare_restart(tx, app_id, token, type=type, number=number)
        for entry in formations.of_app(tx, app_id).values():
            if entry.stopped and type in (None, entry.type):
                formations.set_stopped(tx, app_id, entry.type, False)
        what = "all" if type is None else type if number is None else f"{type}.{number}"
        events.add(tx, app_id, actor, "ps.restart", {"what": what})
    platform.poke()
    return token
