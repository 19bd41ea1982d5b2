"""One push: wait for the app's lock, receive and check the commit, export it, have the API deploy it, then move the ref.

A canary does not move it: the branch stays at the commit that serves.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from paas.nouns.errors import Conflict, Unavailable
from paas.nouns.names import USUAL_BRANCHES
from paas.receive import policy
from paas.receive.api import Api, AppRepository
from paas.receive.context import GitContext
from paas.receive.dulwich_protocol import ReceivePack, Refused
from paas.receive.export import Exported
from paas.receive.follower import DeploymentFollower
from paas.receive.heads import current_heads
from paas.receive.policy import RefUpdate
from paas.receive.push_queue import PushQueue
from paas.receive.quarantine import Quarantine
from paas.receive.repository import ZERO, Repository
from paas.receive.verdicts import told
from paas.receive.wire import Wire


class PushHandler(ReceivePack):
    """A push by `user` to the app called `name`, which it may create."""

    def __init__(self, wire: Wire, ctx: GitContext, api: Api, user: str, name: str) -> None:
        super().__init__(wire, ctx.limits.ref_bytes)
        self._ctx = ctx
        self._api = api
        self._user = user
        self._name = name
        self._app: AppRepository | None = None
        self._options = policy.Options()
        self._queue = PushQueue(ctx.repositories, ctx.limits, api, user, self.progress)

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
                self._app = self._lock(self._app, held)
            quarantine, exported = self._receive(update.new, base, held)
            if self._app is None:
                self._app = self._api.create(self._name)
                self.progress.say(f"-----> Creating app {self._name}")
                self._app = self._lock(self._app, held)
            repository = self._ctx.repositories.of(self._app.id)
            if self._went_live(repository, quarantine, update):
                return
            # before the deployment: a crash after its success must find the objects of the commit that serves
            taken = repository.take_in(quarantine.path) if quarantine.objects else []
            self.progress.say(*told(exported))
            follower = DeploymentFollower(self._api, self._app, self.progress)
            try:
                follower.deploy(self._request(update, exported))
            except Refused:
                repository.drop(taken)
                raise
            if self._options.canary is None:
                self._move_ref(repository, update)
                repository.keep(None)
            else:  # the branch stays at the commit that serves
                repository.keep(update.new)

    def _lock(self, app: AppRepository, held: contextlib.ExitStack) -> AppRepository:
        return self._queue.lock_app(app, held, wait=self._options.wait)

    def _receive(
        self, commit: str, base: Repository | None, held: contextlib.ExitStack
    ) -> tuple[Quarantine, Exported]:
        """Receive and check the objects, and export the commit, in one of the user's slots. Raises Refused, PaasError."""
        slot = self._queue.take_slot()
        try:
            path = held.enter_context(self._ctx.repositories.quarantine(base))
            quarantine = Quarantine(path, base, self._ctx.limits, self.progress.tick)
            self.progress.begin("receiving")
            quarantine.receive(self.wire)
            self.progress.begin("checking the commit")
            quarantine.check_complete(commit)
            root = "" if self._app is None else self._app.root
            return quarantine, quarantine.export(commit, self._ctx.sources, held, root)
        finally:
            os.close(slot)

    def _request(self, update: RefUpdate, exported: Exported) -> dict[str, Any]:
        return {
            "commit": update.new,
            "tree": exported.tree,
            "wait": self._options.wait,
            "canary": self._options.canary,
        }

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

    def _move_ref(self, repository: Repository, update: RefUpdate) -> None:
        current = repository.heads().get(update.branch)
        if not repository.compare_and_swap(update.branch, current, update.new):
            raise Unavailable(
                "The commit is live, but the branch could not be moved.", "The next push repairs that."
            )
