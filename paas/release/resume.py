"""Resume a push whose answer broke off: the api process that ran it may be gone while its deployment goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paas.build.image import read_manifest
from paas.build.platform import Platform
from paas.build.source import SourceTree
from paas.daemon.wakeup import Waiter
from paas.nouns.errors import BuildFailed, Cancelled, NotFound
from paas.nouns.model import App, Canary, Deployment
from paas.nouns.text import WARNING
from paas.release import canary
from paas.release.deployment import Cancel, follow, never
from paas.release.pipeline import PushRequest, PushResult
from paas.store import Tx, builds, canaries, deployments, releases
from runtime.kernel.process import is_running


@dataclass(frozen=True)
class Mark:
    """The newest deployment of a push, and the newest release, that an app had when a push began; 0: none."""

    deployment: int = 0
    release: int = 0


def mark(tx: Tx, app_id: str) -> Mark:
    newest, made = deployments.newest_push(tx, app_id), releases.of_app(tx, app_id, 1)
    return Mark(newest.id if newest else 0, made[0].number if made else 0)


def resume_push(
    platform: Platform,
    app: App,
    request: PushRequest,
    since: Mark,
    out: Callable[[str], None],
    cancelled: Cancel = never,
) -> PushResult:
    """Follow what `run_push` started after `since`, in a process that is gone, to its end.

    Returns when the release serves. Raises PaasError otherwise; then the old release is as it was.
    """
    with Waiter(platform.layout) as waiter:
        while True:
            with platform.store.read() as tx:
                found = _begun(tx, app, request, since)
                building = any(
                    each.app_id == app.id and is_running(each.holder) for each in builds.running(tx)
                )
            if found is not None or not building:
                break
            if cancelled():
                raise Cancelled("The push was cancelled.", cause="cancelled")
            waiter.wait(cancelled)
    if found is None:
        raise BuildFailed(
            "The platform restarted during the build; nothing was changed.",
            "Push again.",
            cause="interrupted",
        )
    if isinstance(found, Canary):
        lines = canary.follow(platform, found, since=found.created_at, cancelled=cancelled)
    else:
        lines = follow(platform, found.id, cancelled=cancelled)
    for line in lines:
        out(line)
    if isinstance(found, Deployment):
        _tell_of_scripts(platform, app, request, out)
    return PushResult(found.release_number, 0, "")


def _begun(tx: Tx, app: App, request: PushRequest, since: Mark) -> Deployment | Canary | None:
    """This push's deployment or canary. The git server admits one push per app at a time, so the newest one is it."""
    if request.canary is not None:
        beside = canaries.of_app(tx, app.id)
        return beside if beside is not None and beside.release_number > since.release else None
    newest = deployments.newest_push(tx, app.id)
    if newest is None or newest.id <= since.deployment:
        return None
    release = releases.get(tx, app.id, newest.release_number)
    return newest if release is not None and release.commit == request.commit else None


def _tell_of_scripts(platform: Platform, app: App, request: PushRequest, out: Callable[[str], None]) -> None:
    """Warn about scripts that may not have finished; running one twice could do harm, so none is repeated."""
    procfile = app.build_settings.get("procfile", "Procfile")
    try:
        scripts = read_manifest(SourceTree.open(platform.layout.sources, request.tree, procfile)).scripts
    except NotFound:
        return
    if any(name.endswith("postdeploy") for name in scripts):
        out(f"{WARNING}The platform restarted meanwhile: the postdeploy script may not have run to its end.")
        out(f"{WARNING}Run it by hand if need be: paas run")
