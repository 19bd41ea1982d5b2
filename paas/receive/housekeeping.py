"""Removal of left-overs and of destroyed apps' repositories, and repacks: now and then, in a child of the accept loop."""

from __future__ import annotations

import contextlib
import sys
import time

from paas.nouns.errors import PaasError
from paas.receive import children, git
from paas.receive.api import Api
from paas.receive.context import GitContext
from paas.receive.repository import UNREACHABLE_S, Repositories
from runtime.kernel.forked import log_crash

HOLDER = "clean-up"
SOURCE_AGE_S = 3600.0
_TRIES = 30
_TRY_EVERY_S = 2.0
_REPACK_S = 600.0


def sweep_left_overs(ctx: GitContext) -> None:
    """For the start: no push is under way, so that everything found is left over."""
    ctx.repositories.sweep_incoming(0)
    ctx.sources.sweep(0)


def housekeep(ctx: GitContext, api: Api) -> None:
    """One round, while pushes go on."""
    ctx.repositories.sweep_incoming()
    ctx.sources.sweep(SOURCE_AGE_S)
    known = _known_ids(api)
    if known is not None:
        for app_id in ctx.repositories.remove_unknown(known):
            sys.stderr.write(f"git: event=repository-removed app={app_id}\n")
    for app_id in ctx.repositories.app_ids():
        try:
            repack(ctx.repositories, app_id)
        except OSError:  # the other repositories still get their turn
            log_crash(f"repack of {app_id}")


def _known_ids(api: Api) -> set[str] | None:
    """The ids of all apps; None if the API, which may start later than this daemon, never answers."""
    for _ in range(_TRIES):
        with contextlib.suppress(PaasError):
            return api.app_ids()
        time.sleep(_TRY_EVERY_S)
    return None


def repack(repositories: Repositories, app_id: str) -> bool:
    """Repack if needed and if the app's lock is free; True if it was done.

    Objects that no branch reaches get a pack of their own, and are left out when they are old (git-repack(1), `--cruft`).
    """
    repository, lock = repositories.of(app_id), repositories.lock(app_id)
    if not repository.exists() or not repository.wants_repack(time.time()) or not lock.acquire(HOLDER):
        return False
    words = ("repack", "--cruft", f"--cruft-expiration={UNREACHABLE_S}.seconds.ago", "-d", "-q")
    try:
        done = children.run(
            git.command(repository.path, *words),
            bounds=git.bounds(write=(repository.path,)),
            timeout_s=_REPACK_S,
        )
        repository.repacked()
    finally:
        lock.release()
    if not done.ok:
        sys.stderr.write(f"git: event=repack-failed app={app_id} error={done.last_words()!r}\n")
    return done.ok
