"""What a push waits for: the app's lock, and one of the user's slots for receiving. The pusher reads why it waits."""

from __future__ import annotations

import contextlib
import time

from paas.nouns.errors import Conflict, NotFound
from paas.receive import progress
from paas.receive.api import Api, AppRepository
from paas.receive.heads import derive_head
from paas.receive.limits import Limits
from paas.receive.locks import AppLock
from paas.receive.progress import Progress
from paas.receive.repository import Repositories
from paas.receive.wire import pause

_RETRY_S = 0.1


class PushQueue:
    """Waits for a push by `user`."""

    def __init__(
        self, repositories: Repositories, limits: Limits, api: Api, user: str, progress: Progress
    ) -> None:
        self._repositories = repositories
        self._limits = limits
        self._api = api
        self._user = user
        self._progress = progress

    def lock_app(self, app: AppRepository, held: contextlib.ExitStack, *, wait: bool) -> AppRepository:
        """Lock the app until `held` is closed, and bring its ref up to date; the app as it is now.

        The API is asked for the app again: since the advertisement, which holds no lock, another push may have
        gone live, or the app may be gone. Raises NotFound then, and Conflict if the lock is taken and `wait` is false.
        """
        lock = self._repositories.lock(app.id)
        if not lock.acquire(self._user):
            self._wait_for(lock, app.name, wait=wait)
        held.callback(lock.release)
        fresh = self._api.repository(app.name)
        if fresh is None or fresh.id != app.id:
            raise NotFound(f"The app {app.name} is gone.", "It was destroyed or renamed meanwhile.")
        repository = self._repositories.of(fresh.id)
        repository.make()
        derive_head(repository, fresh)
        return fresh

    def take_slot(self) -> int:
        """Wait until this user has a slot for receiving free; a descriptor that holds it."""
        slots = self._repositories.slots(self._user, self._limits.receiving)
        self._progress.begin("waiting for other pushes")
        while (slot := slots.acquire()) is None:
            self._pause()
        return slot

    def _wait_for(self, lock: AppLock, app_name: str, *, wait: bool) -> None:
        holder = lock.holder()
        other = "Another push"
        if holder is not None:
            since = time.strftime("%H:%M:%S", time.localtime(holder.since))
            other = f"A push by {holder.user} since {since}"
        if not wait:
            raise Conflict(f"{other} is at work on {app_name}.", "Push again when it is done.", cause="busy")
        notice = f"{other} is at work on {app_name}; waiting for it"
        self._progress.say(*progress.wrapped(notice, "-----> ", "       "))
        self._progress.begin("waiting")
        while not lock.acquire(self._user):
            self._pause()

    def _pause(self) -> None:
        pause(_RETRY_S)
        self._progress.tick()
