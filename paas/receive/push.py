"""One push: the turn is waited for, the commit checked, exported and deployed by the API; only then the ref moves
(not for a canary: the branch stays at the commit that serves)."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import Any

from paas.nouns.errors import Conflict, NotFound, PaasError, Unavailable
from paas.nouns.names import USUAL_BRANCHES
from paas.receive import policy, progress
from paas.receive.api import Api, AppRepository, Lost
from paas.receive.context import Context
from paas.receive.dulwich_protocol import ReceivePack
from paas.receive.export import Exported
from paas.receive.heads import current_heads, derive_head
from paas.receive.locks import AppLock
from paas.receive.policy import RefUpdate
from paas.receive.quarantine import Quarantine
from paas.receive.repository import ZERO, Repository
from paas.receive.wire import Wire, waiting

_REMEMBERED_LINES = 500
_LOCK_RETRY_S = 0.1
_API_RETRY_S = 0.5
_API_OUTAGE_S = 600.0


class Push(ReceivePack):
    """A push by `user` to the app called `name`, which it may create."""

    def __init__(self, wire: Wire, ctx: Context, api: Api, user: str, name: str) -> None:
        super().__init__(wire, ctx.limits.ref_bytes)
        self._ctx = ctx
        self._api = api
        self._user = user
        self._name = name
        self._app: AppRepository | None = None
        self._options = policy.Options()
        self._said: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        """The last lines of the deployment, so that following it again repeats none."""

    # before the pack
    def advertised_heads(self) -> dict[str, str]:
        self._app = self._api.repository(self._name)
        if self._app is None:
            return {}
        return current_heads(self._ctx.repositories, self._app, self._user)

    def check(self, updates: list[RefUpdate], options: list[str], *, shallow: bool) -> RefUpdate:
        self._options = policy.check_options(options)
        branches = USUAL_BRANCHES if self._app is None else self._app.branches
        return policy.check(
            updates, app=self._name, branches=branches, shallow=shallow, count=self.update_count
        )

    # the push
    def deploy(self, update: RefUpdate) -> None:
        with contextlib.ExitStack() as held:
            base = None
            if self._app is not None:
                base = self._ctx.repositories.of(self._app.id)
                self._take_turn(self._app, held)
            slot = self._take_slot()
            try:
                path = held.enter_context(self._ctx.repositories.quarantine(base))
                quarantine = Quarantine(path, base, self._ctx.limits, self.progress.tick)
                self.progress.begin("receiving")
                objects = quarantine.receive(self.wire)
                self.progress.begin("checking the commit")
                quarantine.check_complete(update.new)
                exported = quarantine.export(update.new, self._ctx.sources, held)
            finally:
                os.close(slot)
            if self._app is None:
                self._app = self._api.create(self._name)
                self.progress.say(f"-----> Creating app {self._name}")
                self._take_turn(self._app, held)
            repository = self._ctx.repositories.of(self._app.id)
            if self._went_live(repository, quarantine, update):
                return
            # before the deployment: a crash after its success must find the objects of the commit that serves
            taken = repository.take_in(quarantine.path) if objects else []
            error = self._bring_live(update, exported)
            if error is not None:
                repository.drop(taken)
                raise error
            if self._options.canary is None:
                self._move_ref(repository, update)
                repository.keep(None)
            else:  # the branch stays at the commit that serves
                repository.keep(update.new)

    def _take_turn(self, app: AppRepository, held: contextlib.ExitStack) -> None:
        """Wait for the app's lock, then bring the ref up to date. Raises Conflict with `-o nowait`.

        The API is asked for the app again: since the advertisement, which holds no lock, another push may have
        gone live, or the app may be gone.
        """
        lock = self._ctx.repositories.lock(app.id)
        if not lock.acquire(self._user):
            self._wait(lock)
        held.callback(lock.release)
        fresh = self._api.repository(app.name)
        if fresh is None or fresh.id != app.id:
            raise NotFound(f"The app {app.name} is gone.", "It was destroyed or renamed meanwhile.")
        self._app = fresh
        repository = self._ctx.repositories.of(fresh.id)
        repository.make()
        derive_head(repository, fresh)

    def _wait(self, lock: AppLock) -> None:
        holder = lock.holder()
        other = "Another push"
        if holder is not None:
            since = time.strftime("%H:%M:%S", time.localtime(holder.since))
            other = f"A push by {holder.user} since {since}"
        if not self._options.wait:
            raise Conflict(
                f"{other} is at work on {self._name}.", "Push again when it is done.", cause="busy"
            )
        notice = f"{other} is at work on {self._name}; waiting for it"
        self.progress.say(*progress.wrapped(notice, "-----> ", "       "))
        self.progress.begin("waiting")
        while not lock.acquire(self._user):
            self._pause(_LOCK_RETRY_S)

    def _take_slot(self) -> int:
        """Wait until this user has a slot for receiving free; a descriptor that holds it."""
        slots = self._ctx.repositories.slots(self._user, self._ctx.limits.receiving)
        self.progress.begin("waiting for other pushes")
        while (slot := slots.acquire()) is None:
            self._pause(_LOCK_RETRY_S)
        return slot

    def _pause(self, seconds: float) -> None:
        with waiting():
            time.sleep(seconds)
        self.progress.tick()

    def _went_live(self, repository: Repository, quarantine: Quarantine, update: RefUpdate) -> bool:
        """True if this commit went live while we waited. Raises Conflict if one that it does not contain did."""
        claimed = None if update.old == ZERO else update.old
        current = repository.heads().get(update.branch)
        if current == claimed or current is None:
            return False
        if current == update.new:
            self.progress.say(f"=====> {update.new[:7]} is live already")
            return True
        if quarantine.is_ancestor(current, update.new):
            return False
        raise Conflict(
            f"{current[:7]} went live meanwhile, and this push does not contain it.",
            "Fetch and merge it first: git pull paas " + update.branch,
            cause="fetch first",
        )

    def _bring_live(self, update: RefUpdate, exported: Exported) -> PaasError | None:
        """Have the API deploy the commit; the error of the deployment, None if the commit serves or is the canary.

        Raises PaasError if the deployment did not begin, or if nobody knows how it ended.
        """
        self._warn(exported)
        request = {
            "commit": update.new,
            "tree": exported.tree,
            "wait": self._options.wait,
            "canary": self._options.canary,
        }
        self.progress.begin("at work")
        try:
            return self._api.deploy(self._name, request, self._say, self.progress.tick)
        except Lost:
            return self._resume(request)

    def _warn(self, exported: Exported) -> None:
        """Say what of the tree will not work as the pusher may expect."""
        for link in exported.outside.first:
            self.progress.say(*progress.warning(f"The link {link} points out of the app's folder."))
        pointers = exported.pointers
        if pointers.count:
            more = pointers.count - len(pointers.first)
            names = ", ".join(pointers.first) + (f" and {more} more" if more else "")
            self.progress.say(
                *progress.warning(
                    f"Git LFS keeps the content of {names} elsewhere; the app gets the pointers."
                ),
                *progress.warning(
                    "Commit the files themselves: git lfs migrate export --include=PATTERN --everything"
                ),
            )

    def _resume(self, request: dict[str, Any]) -> PaasError | None:
        """Follow the deployment after the API broke off, which goes on without it, until it tells how that ended."""
        assert self._app is not None
        before = {"last_deployment": self._app.last_deployment, "last_release": self._app.last_release}
        self.progress.say(*progress.warning("The platform's api broke off; asking it how the push goes on."))
        self.progress.begin("waiting for the platform's api")
        deadline = time.monotonic() + _API_OUTAGE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Lost):
                return self._api.deploy(self._name, {**request, **before}, self._say_once, self.progress.tick)
            self._pause(_API_RETRY_S)
        raise Unavailable(
            "The platform's api does not answer: the commit may be live, or not.", "See: paas releases"
        )

    def _say(self, line: str) -> None:
        self._said.append(line)
        self.progress.say(line)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._say(line)

    def _move_ref(self, repository: Repository, update: RefUpdate) -> None:
        current = repository.heads().get(update.branch)
        if not repository.compare_and_swap(update.branch, current, update.new):
            raise Unavailable(
                "The commit is live, but the branch could not be moved.", "The next push repairs that."
            )
