"""What a push means: the commit checked, exported, deployed by the api, and only then the ref moved."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paas.nouns.errors import BadInput, Conflict, Forbidden, NotFound, Unavailable
from paas.receive import children, export, policy, progress
from paas.receive.api import Api, AppRepository, Lost, Pushed
from paas.receive.limits import Limits
from paas.receive.locks import AppLock
from paas.receive.policy import RefCommand
from paas.receive.receive import ReceivePack, Refused
from paas.receive.repository import ZERO, Repositories, Repository
from paas.receive.sources import Sources
from paas.receive.verdicts import export_answer, incomplete, unpack_error
from paas.receive.wire import Wire, waiting

_REMEMBERED = 500
NEW_APP_BRANCHES = ("main", "master")

_LENIENT = ("zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate", "missingSpaceBeforeEmail")
"""What git's fsck finds in old histories that harms nobody."""

_STRICT = "--strict=" + ",".join([*(f"{name}=ignore" for name in _LENIENT), "badFilemode=error"])
_OUTAGE_S = 600.0


@dataclass(frozen=True)
class Places:
    """Where a platform keeps what the git daemon owns, and the bounds of a push."""

    repositories: Repositories
    sources: Sources
    limits: Limits


class Push(ReceivePack):
    """One push by `user` to the app called `name`, which it may create."""

    def __init__(self, wire: Wire, places: Places, api: Api, user: str, name: str) -> None:
        super().__init__(wire, places.limits.ref_bytes)
        self._places = places
        self._api = api
        self._user = user
        self._name = name
        self._app: AppRepository | None = None
        self._options = policy.Options()
        self._heard: deque[str] = deque(maxlen=_REMEMBERED)
        """The last lines of the deployment that were said, so that none is said twice."""

    # before the pack
    def heads(self) -> dict[str, str]:
        self._app = self._api.repository(self._name)
        if self._app is None:
            return {}
        if not self._app.may_push:
            raise Forbidden(f"{self._user} may not push to {self._name}.")
        return current_heads(self._places.repositories, self._app, self._user)

    def accept(self, commands: list[RefCommand], options: list[str], *, shallow: bool) -> RefCommand:
        self._options = policy.check_options(options)
        branches = _branches(self._app)
        return policy.check(commands, app=self._name, branches=branches, shallow=shallow, count=self.asked)

    # the push
    def deploy(self, command: RefCommand) -> None:
        with contextlib.ExitStack() as held:
            base = None
            if self._app is not None:
                base = self._places.repositories.of(self._app.id)
                self._take_turn(self._app, held)
            slot = self._take_slot()
            try:
                quarantine = held.enter_context(self._places.repositories.quarantine(base))
                objects = self._receive(quarantine)
                told = self._export(quarantine, base, command, held)
            finally:
                os.close(slot)
            if self._app is None:
                self._app = self._api.create(self._name)
                self.voice.say(f"-----> Creating app {self._name}")
                self._take_turn(self._app, held)
            repository = self._places.repositories.of(self._app.id)
            if self._is_live(repository, quarantine, command):
                return
            taken = repository.take_in(quarantine) if objects else []
            outcome = self._release(command, told)
            if outcome.error is not None:
                repository.drop(taken)
                raise outcome.error
            if self._options.canary is None:
                self._move_ref(repository, command)
                repository.keep(None)
            else:  # the branch stays at the commit that serves
                repository.keep(command.new)

    def _take_turn(self, app: AppRepository, held: contextlib.ExitStack) -> None:
        """Wait for the app's lock, then bring the ref up to date. Raises Conflict with `-o nowait`."""
        lock = self._places.repositories.lock(app.id)
        if not lock.acquire(self._user):
            self._wait(lock)
        held.callback(lock.release)
        fresh = self._api.repository(app.name)
        if fresh is None or fresh.id != app.id:
            raise NotFound(f"The app {app.name} is gone.", "It was destroyed or renamed meanwhile.")
        self._app = fresh
        repository = self._places.repositories.of(fresh.id)
        repository.make()
        derive_ref(repository, fresh)

    def _wait(self, lock: AppLock) -> None:
        holder = lock.holder()
        who = "Another push"
        if holder is not None:
            since = time.strftime("%H:%M:%S", time.localtime(holder.since))
            who = f"A push by {holder.user} since {since}"
        if self._options.nowait:
            raise Conflict(f"{who} is at work on {self._name}.", "Push again when it is done.", cause="busy")
        self.voice.say(
            *progress.wrapped(f"{who} is at work on {self._name}; waiting for it", "-----> ", "       ")
        )
        self.voice.doing("waiting")
        while not lock.acquire(self._user):
            with waiting():
                time.sleep(0.1)
            self.voice.tick()

    def _take_slot(self) -> int:
        """Wait until few enough other pushes of this user are being received."""
        slots = self._places.repositories.slots(self._user, self._places.limits.receiving)
        self.voice.doing("waiting for other pushes")
        while (slot := slots.acquire()) is None:
            with waiting():
                time.sleep(0.1)
            self.voice.tick()
        return slot

    def _receive(self, quarantine: Path) -> int:
        """Index and check the pack in quarantine; how many objects it holds. Raises Refused."""
        limits = self._places.limits
        head = self.wire.read(12)
        if len(head) < 12 or head[:4] != b"PACK" or head[4:8] not in (b"\0\0\0\2", b"\0\0\0\3"):
            raise Refused(BadInput("The client sent no pack.", cause="no pack"), unpack="not a pack")
        version, count = struct.unpack(">II", head[4:])
        if count > limits.objects:
            sentence = f"The push has {count} objects; {limits.objects} are allowed."
            raise Refused(BadInput(sentence, cause="too large"), unpack="too large")
        self.voice.doing("receiving")
        words = ["index-pack", "--stdin", "--fix-thin", f"--pack_header={version},{count}", _STRICT]
        words.append(f"--max-input-size={limits.pack_bytes}")
        base = () if self._app is None else (self._places.repositories.of(self._app.id).path,)
        finished = children.run(
            children.git(quarantine, *words),
            bounds=children.bounds(
                read=base,
                write=(quarantine,),
                memory_bytes=limits.index_memory_bytes,
                file_bytes=2 * limits.pack_bytes + (64 << 20),
                cpu_s=limits.index_cpu_s,
            ),
            timeout_s=limits.receive_s,
            stall_s=limits.stall_s,
            stdin=self.wire.source,
            tick=self.voice.tick,
        )
        if not finished.ok:
            raise Refused(unpack_error(finished, limits), unpack="index-pack failed")
        return int(count)

    def _export(
        self, quarantine: Path, base: Repository | None, command: RefCommand, held: contextlib.ExitStack
    ) -> dict[str, Any]:
        """Check that the commit is whole, and make its source. Raises Refused, PaasError."""
        limits, sources = self._places.limits, self._places.sources
        read = (quarantine,) if base is None else (quarantine, base.path)
        known = [f"^{commit}" for commit in (base.heads().values() if base else ())]
        words = ["rev-list", "--objects", "--quiet", command.new, *known, "--"]
        self.voice.doing("checking the commit")
        whole = children.run(
            children.git(quarantine, *words),
            bounds=children.bounds(read=read, cpu_s=limits.index_cpu_s),
            timeout_s=limits.export_s,
            tick=self.voice.tick,
        )
        if not whole.ok:
            raise Refused(incomplete(whole))
        for _ in range(3):
            with sources.scratch() as scratch:
                told = self._make_source(quarantine, command.new, read, scratch)
            if sources.hold(told["tree"], held):
                return told
        raise Unavailable("The source vanished while it was being made.", "Push again.")

    def _make_source(
        self, quarantine: Path, commit: str, read: tuple[Path, ...], scratch: Path
    ) -> dict[str, Any]:
        limits = self._places.limits
        finished = children.run(
            lambda: export.export_in_child(quarantine, commit, scratch, limits),
            bounds=children.bounds(read=read, write=(scratch.parent,), file_bytes=2 * limits.source_bytes),
            timeout_s=limits.export_s,
            tick=self.voice.tick,
        )
        return export_answer(finished)

    def _is_live(self, repository: Repository, quarantine: Path, command: RefCommand) -> bool:
        """Whether somebody has brought this very commit live meanwhile. Raises Conflict when another is."""
        claimed = None if command.old == ZERO else command.old
        current = repository.heads().get(command.branch)
        if current == claimed or current is None:
            return False
        if current == command.new:
            self.voice.say(f"=====> {command.new[:7]} is live already")
            return True
        ahead = children.run(
            children.git(quarantine, "merge-base", "--is-ancestor", current, command.new),
            bounds=children.bounds(read=(quarantine, repository.path)),
            timeout_s=self._places.limits.export_s,
        )
        if ahead.ok:
            return False
        raise Conflict(
            f"{current[:7]} went live meanwhile, and this push does not contain it.",
            "Fetch and merge it first: git pull paas " + command.branch,
            cause="fetch first",
        )

    def _release(self, command: RefCommand, told: dict[str, Any]) -> Pushed:
        """Have the commit deployed; how that ended. Raises PaasError when it did not begin, or nobody knows."""
        assert self._app is not None
        self._warn(told)
        request = {
            "commit": command.new,
            "tree": told["tree"],
            "branch": command.branch,
            "subject": told["subject"],
            "author": told["author"],
            "files": told["files"],
            "nowait": self._options.nowait,
            "canary": self._options.canary,
        }
        self.voice.doing("at work")
        try:
            return self._follow(request)
        except Lost:
            return self._resume(request)

    def _warn(self, told: dict[str, Any]) -> None:
        """Say what of the tree will not work as the pusher may expect."""
        for link in told["outside"]["first"]:
            self.voice.say(*progress.warning(f"The link {link} points out of the app's folder."))
        pointers = told["pointers"]
        if pointers["count"]:
            more = pointers["count"] - len(pointers["first"])
            names = ", ".join(pointers["first"]) + (f" and {more} more" if more else "")
            self.voice.say(
                *progress.warning(
                    f"Git LFS keeps the content of {names} elsewhere; the app gets the pointers."
                ),
                *progress.warning(
                    "Commit the files themselves: git lfs migrate export --include=PATTERN --everything"
                ),
            )

    def _follow(self, request: dict[str, Any], *, again: bool = False) -> Pushed:
        stream = self._api.push(self._name, request)
        try:
            for line in stream:
                if line is not None and not (again and line in self._heard):
                    self._heard.append(line)
                    self.voice.say(line)
                self.voice.tick()
        finally:
            stream.close()
        assert stream.outcome is not None
        return stream.outcome

    def _resume(self, request: dict[str, Any]) -> Pushed:
        """Ask again after the api broke off, until it tells how the push ended: the deployment goes on without it."""
        assert self._app is not None
        before = {"last_deployment": self._app.last_deployment, "last_release": self._app.last_release}
        self.voice.say(*progress.warning("The platform's api broke off; asking it how the push goes on."))
        self.voice.doing("waiting for the platform's api")
        deadline = time.monotonic() + _OUTAGE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Lost):
                return self._follow({**request, **before}, again=True)
            with waiting():
                time.sleep(0.5)
            self.voice.tick()
        raise Unavailable(
            "The platform's api does not answer: the commit may be live, or not.", "See: paas releases"
        )

    def _move_ref(self, repository: Repository, command: RefCommand) -> None:
        current = repository.heads().get(command.branch)
        if not repository.compare_and_swap(command.branch, current, command.new):
            raise Unavailable(
                "The commit is live, but the branch could not be moved.", "The next push repairs that."
            )


def _branches(app: AppRepository | None) -> tuple[str, ...]:
    if app is None:
        return NEW_APP_BRANCHES
    return (app.deploy_branch, *(branch for branch in app.branches if branch != app.deploy_branch))


def current_heads(repositories: Repositories, app: AppRepository, user: str) -> dict[str, str]:
    """The app's branches, brought up to date unless a push is at work on them."""
    repository = repositories.of(app.id)
    lock = repositories.lock(app.id)
    if lock.acquire(user):
        try:
            repository.make()
            derive_ref(repository, app)
        finally:
            lock.release()
    return repository.heads() if repository.exists() else {}


def derive_ref(repository: Repository, app: AppRepository) -> None:
    """Set the deploy branch to the commit that serves; the caller holds the app's lock."""
    heads = repository.heads()
    branch = next((name for name in heads if name in app.branches), app.deploy_branch)
    if app.live_commit is None:
        repository.set_head(branch, None)
    elif heads != {branch: app.live_commit}:
        there = children.run(
            children.git(repository.path, "cat-file", "-e", f"{app.live_commit}^{{commit}}"),
            bounds=children.bounds(read=(repository.path,)),
            timeout_s=30,
        )
        repository.set_head(branch, app.live_commit if there.ok else None)
