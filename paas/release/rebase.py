"""Releases of the images that serve, on the newest of their stack: no build, but every gate of a deployment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from paas.build.base import base_of, rebased_image
from paas.build.platform import Platform
from paas.daemon import threads
from paas.daemon.turns import Turns
from paas.nouns.errors import Cancelled, PaasError
from paas.nouns.model import App, Image, Release
from paas.nouns.text import WARNING
from paas.release.change import Push
from paas.release.deployment import Cancel, deploy
from paas.release.pipeline import storage_failures
from paas.release.portable import image_errors
from paas.store import apps, images, releases
from runtime.stack import build as stacks
from runtime.stack.build import Stack

_AT_ONCE = 2
"""Owners whose apps are rebased at once, twice as many at most."""
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Standing:
    """An app that serves, and the stack's layers that its image stands on; `current` if they are the newest."""

    app: App
    release: Release
    image: Image
    current: bool


def standings(platform: Platform) -> list[Standing]:
    """Every app whose serving image stands on a stack, by name."""
    folder, found = platform.layout.stacks, []
    newest = {stack.name: stack.run for stack in stacks.load_all(folder)}
    with platform.store.read() as tx:
        for app in apps.all(tx):
            release = releases.serving(tx, app)
            image = images.of(tx, release)
            if release is None or image is None or app.destroying or not (base := base_of(image, folder)):
                continue
            found.append(Standing(app, release, image, base == newest.get(image.stack)))
    return sorted(found, key=lambda standing: standing.app.name)


@dataclass(frozen=True)
class Outcome:
    """`release` is 0 if the app stays on the older stack; `reason` says why."""

    app: str
    release: int
    reason: str = ""


def by_owner(standings: Sequence[Standing]) -> list[list[Standing]]:
    """The apps of each owner, in their order."""
    found: dict[int | None, list[Standing]] = {}
    for standing in standings:
        found.setdefault(standing.app.owner_id, []).append(standing)
    return list(found.values())


@dataclass(frozen=True)
class Rebase:
    """All apps that stand on an older `stack` on their way to it: of each owner one after the other, of few owners at once.

    A rebase that takes longer than `patience_s` (a slow release command, say) holds up the next app of its owner, and of
    nobody else.
    """

    platform: Platform
    stack: Stack
    actor: str
    line: Callable[[str], None]
    cancelled: Cancel
    patience_s: float = PATIENCE_S
    _turns: Turns = field(default_factory=lambda: Turns(_AT_ONCE, 1, "Others are rebased"))

    def run(self) -> list[Outcome]:
        """What became of each app, by name. A failure ends that app's rebase alone."""
        found = standings(self.platform)
        due = [one for one in found if one.image.stack == self.stack.name and not one.current]
        owners = by_owner(due)
        with ThreadPoolExecutor(max(1, len(owners)), "rebase") as pool:
            outcomes = [outcome for done in pool.map(self._one_by_one, owners) for outcome in done]
        return sorted(outcomes, key=lambda outcome: outcome.app)

    def _one_by_one(self, due: Sequence[Standing]) -> list[Outcome]:
        return [outcome for one in due if not self.cancelled() and (outcome := self._in_turn(one))]

    def _in_turn(self, one: Standing) -> Outcome | None:
        """The outcome, None if it was cancelled before it began."""
        turn = ExitStack()
        try:
            turn.enter_context(self._turns.one(one.app.owner_id, self.cancelled))
        except Cancelled:
            return None
        late = threads.later("slow rebase", self.patience_s, turn.close)
        try:
            return self._rebased(one)
        finally:
            late.cancel()
            late.join()
            turn.close()

    def _rebased(self, one: Standing) -> Outcome:
        name = one.app.name
        self.line(f"-----> Rebasing {name}")

        def line(text: str) -> None:
            self.line(f"       {name}: {text.removeprefix('----->').strip()}")

        try:
            release = self._deployed(one, line)
        except PaasError as error:
            for sentence in filter(None, (error.message, error.hint)):
                self.line(f"{WARNING}{name}: {sentence}")
            return Outcome(name, 0, error.message)
        return Outcome(name, release.number)

    def _deployed(self, one: Standing, line: Callable[[str], None]) -> Release:
        with storage_failures(), image_errors():
            image = rebased_image(self.platform, one.image, self.stack)
        change = Push(
            actor=self.actor,
            description=f"Rebase on stack {self.stack.name} {self.stack.created[:10]}",
            image_digest=image.digest,
            commit=one.release.commit,
            origin=one.release.origin,
        )
        return deploy(self.platform, one.app.id, change, line, wait_s=0.0, cancelled=self.cancelled)
