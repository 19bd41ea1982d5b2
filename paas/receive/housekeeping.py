"""What is done now and then, in a child of the accept loop: left-overs and repositories of gone apps."""

from __future__ import annotations

import contextlib
import sys
import time

from paas.nouns.errors import PaasError
from paas.receive import children
from paas.receive.api import Api
from paas.receive.push import Places
from paas.receive.repository import UNREACHABLE_S, Repositories
from runtime.kernel.forked import log_crash

HOLDER = "clean-up"
SOURCE_AGE_S = 3600.0
_TRIES = 30
_TRY_EVERY_S = 2.0
_REPACK_S = 600.0


def sweep_left_overs(places: Places) -> None:
    """Before the first connection: no push is under way, so that whatever is found is left over."""
    places.repositories.sweep_incoming(0)
    places.sources.sweep(0)


def housekeep(places: Places, api: Api) -> None:
    """One round beside pushes."""
    places.repositories.sweep_incoming()
    places.sources.sweep(SOURCE_AGE_S)
    known = _known_ids(api)
    if known is not None:
        for app_id in places.repositories.remove_unknown(known):
            sys.stderr.write(f"git: event=repository-removed app={app_id}\n")
    for app_id in places.repositories.app_ids():
        try:
            repack(places.repositories, app_id)
        except OSError:  # it keeps no other app's repository waiting
            log_crash(f"repack of {app_id}")


def _known_ids(api: Api) -> set[str] | None:
    """The api may start later than we; None when it never answers."""
    for _ in range(_TRIES):
        with contextlib.suppress(PaasError):
            return api.app_ids()
        time.sleep(_TRY_EVERY_S)
    return None


def repack(repositories: Repositories, app_id: str) -> bool:
    """Make many packs one, unless somebody is at work on the app; whether it was done.

    What no branch reaches goes into a pack of its own, and is left out when it is old (git-repack(1), `--cruft`).
    """
    repository, lock = repositories.of(app_id), repositories.lock(app_id)
    if not repository.exists() or not repository.wants_repack(time.time()) or not lock.acquire(HOLDER):
        return False
    words = ("repack", "--cruft", f"--cruft-expiration={UNREACHABLE_S}.seconds.ago", "-d", "-q")
    try:
        done = children.run(
            children.git(repository.path, *words),
            bounds=children.bounds(write=(repository.path,)),
            timeout_s=_REPACK_S,
        )
        repository.repacked()
    finally:
        lock.release()
    if not done.ok:
        sys.stderr.write(f"git: event=repack-failed app={app_id} error={done.last_words()!r}\n")
    return done.ok
