"""Releases of the images that serve, on the newest of their stack: no build, but every gate of a deployment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paas.build.base import base_of, rebased_image
from paas.build.platform import Platform
from paas.nouns.errors import PaasError
from paas.nouns.model import App, Image, Release
from paas.nouns.text import WARNING
from paas.release.change import Push
from paas.release.deployment import Cancel, deploy
from paas.release.pipeline import storage_failures
from paas.release.portable import image_errors
from paas.store import apps, images, releases
from runtime.stack import build as stacks
from runtime.stack.build import Stack


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


def in_turn(standings: Sequence[Standing]) -> list[Standing]:
    """One app of each owner, then the next of each: one owner's slow releases hold up the others' least."""
    seen: Counter[int | None] = Counter()
    rounds = []
    for standing in standings:
        rounds.append((seen[standing.app.owner_id], standing))
        seen[standing.app.owner_id] += 1
    return [standing for _, standing in sorted(rounds, key=lambda each: each[0])]


def rebase_all(
    platform: Platform, stack: Stack, actor: str, line: Callable[[str], None], cancelled: Cancel
) -> list[Outcome]:
    """Rebase the apps that still stand on an older `stack`, one after the other. A failure ends that app's rebase alone."""
    outcomes = []
    for standing in in_turn(standings(platform)):
        if standing.image.stack == stack.name and not standing.current and not cancelled():
            line(f"-----> Rebasing {standing.app.name}")
            outcomes.append(_rebase(platform, standing, stack, actor, line, cancelled))
    return outcomes


def _rebase(
    platform: Platform,
    standing: Standing,
    stack: Stack,
    actor: str,
    line: Callable[[str], None],
    cancelled: Cancel,
) -> Outcome:
    app, serving = standing.app, standing.release
    try:
        with storage_failures(), image_errors():
            image = rebased_image(platform, standing.image, stack)
        change = Push(
            actor=actor,
            description=f"Rebase on stack {stack.name} {stack.created[:10]}",
            image_digest=image.digest,
            commit=serving.commit,
            origin=serving.origin,
        )
        release = deploy(platform, app.id, change, line, wait_s=0.0, cancelled=cancelled)
    except PaasError as error:
        line(f"{WARNING}{app.name}: {error.message}")
        if error.hint:
            line(f"{WARNING}{error.hint}")
        return Outcome(app.name, 0, error.message)
    return Outcome(app.name, release.number)
