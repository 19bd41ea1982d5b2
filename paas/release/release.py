"""What a new release is made of: the serving one, and what changes against it. Transactions, nothing waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from paas.nouns.errors import BadInput, Conflict, NotFound, TooMany
from paas.nouns.model import App, Image, Release
from paas.nouns.names import check_config
from paas.nouns.units import shown_memory
from paas.release.capacity import machine_bytes
from paas.runs.specs import RELEASE_TYPE
from paas.store import Tx, canaries, configs, events, formations, images, releases

CHANGES, CHANGES_S = 120, 60.0
"""So many releases an app may have in so many seconds before one is refused that no push makes."""


@dataclass(frozen=True)
class Change:
    """What a new release changes against the app's serving release (or its newest state before the first)."""

    image_digest: str | None = None
    commit: str | None = None
    set_vars: dict[str, str] = field(default_factory=dict)
    unset_vars: tuple[str, ...] = ()
    limits: dict[str, dict[str, int]] = field(default_factory=dict)
    rollback_to: int | None = None
    promote: bool = False
    """`rollback_to` must still be the app's canary."""
    beside: bool = False
    """The release is not to serve yet: what runs is left alone."""


def rollback_target(tx: Tx, app: App, number: int | None) -> Release:
    """The release to go back to: `number`, or the newest succeeded one before the serving one.

    Raises NotFound or BadInput with what to use instead.
    """
    if number is not None:
        release = releases.get(tx, app.id, number)
        if release is None:
            raise NotFound(f"{app.name} has no release v{number}.", "See: paas releases")
    else:
        older = [
            r
            for r in releases.of_app(tx, app.id, 1000)
            if r.state == "succeeded" and r.image_digest is not None and r.number < (app.release_number or 0)
        ]
        if not older:
            raise BadInput(f"{app.name} has no earlier release to go back to.", "See: paas releases")
        release = max(older, key=lambda r: r.number)
    if release.state != "succeeded":
        raise BadInput(f"v{release.number} never ran ({release.state}).", "Choose a succeeded release.")
    if images.of(tx, release) is None:
        raise BadInput(
            f"The image of v{release.number} is no longer kept.",
            "Push the commit again, or choose a newer one.",
        )
    if not configs.kept(tx, app.id, release.config_number):
        raise BadInput(f"The config vars of v{release.number} are no longer kept.", "Choose a newer release.")
    return release


def next_release(
    tx: Tx, app: App, base: Release | None, change: Change, *, actor: str, description: str
) -> Release:
    """Make the release that follows `base`, the serving one. Without an image it only records the new state.

    Raises BadInput, Conflict or NotFound for an impossible change.
    """
    if change.image_digest is None:
        _check_rate(tx, app)
    image_digest, commit = change.image_digest, change.commit
    config_number = base.config_number if base else 0
    limits = change.limits
    if change.rollback_to is not None:
        target = rollback_target(tx, app, change.rollback_to)
        image_digest, commit, config_number = target.image_digest, target.commit, target.config_number
        limits = {**{kind: {} for kind in formations.of_app(tx, app.id)}, **target.limits}
    elif image_digest is None and base is not None:
        image_digest, commit = base.image_digest, base.commit
    config_number = _config(tx, app, config_number, change)
    image = None if image_digest is None else images.get(tx, app.id, image_digest)
    if image_digest is not None and image is None:
        raise BadInput(f"Image {image_digest[:19]} does not belong to this app.")
    release = releases.create(
        tx,
        app.id,
        image_digest=image_digest,
        config_number=config_number,
        limits=_formation(tx, app.id, replace(change, limits=limits), image),
        description=description,
        commit=commit,
        actor=actor,
        state="pending" if image else "succeeded",
    )
    configs.prune(tx, app.id, releases.used_configs(tx, app.id, releases.CONFIGS_SHOWN))
    detail = {"release": release.number, "description": description}
    events.add(tx, app.id, actor, "release.create", detail)
    return release


def promoted(tx: Tx, app: App, change: Change) -> Release | None:
    """The canary's release itself when it has never served, since a push made it. Raises Conflict."""
    if not change.promote:
        return None
    number, canary = change.rollback_to, canaries.of_app(tx, app.id)
    if canary is None or canary.release_number != number:
        raise Conflict(f"v{number} is no longer the canary of {app.name}.", "See: paas releases")
    release = releases.get(tx, app.id, canary.release_number)
    return release if release is not None and release.state == "pending" else None


def _check_rate(tx: Tx, app: App) -> None:
    """Each change of the config vars or limits is a release with rows of its own. Raises TooMany."""
    now = time.time()
    made = releases.made_since(tx, app.id, now - CHANGES_S)
    if len(made) >= CHANGES:
        wait_s = max(1, round(made[-CHANGES] + CHANGES_S - now))
        raise TooMany(
            f"{app.name} has had {len(made)} releases within a minute; {CHANGES} are allowed.",
            f"Try again in {wait_s} s. One command can set many vars: paas config:set A=1 B=2",
        )


def _config(tx: Tx, app: App, number: int, change: Change) -> int:
    """The number of the configuration the release gets; a changed one is written as the next number."""
    if not change.set_vars and not change.unset_vars:
        return number
    values = configs.get(tx, app.id, number)
    for name in change.unset_vars:
        values.pop(name, None)
    values.update(change.set_vars)
    check_config(values)
    return configs.put(tx, app.id, values)


def _formation(tx: Tx, app_id: str, change: Change, image: Image | None) -> dict[str, dict[str, int]]:
    """Bring the formation's rows up to the release; returns the limits of every type as they stand now."""
    entries = formations.of_app(tx, app_id)
    if image is not None:
        wishes = image.manifest.get("formation")
        wishes = wishes if isinstance(wishes, dict) else {}
        for kind in image.processes:
            if kind == RELEASE_TYPE or kind in entries:
                continue
            wish = wishes.get(kind)
            quantity = wish.get("quantity") if isinstance(wish, dict) else None
            plain = 1 if kind == "web" else 0
            formations.ensure(tx, app_id, kind, quantity if isinstance(quantity, int) else plain)
    for kind, limits in change.limits.items():
        _check_fit(kind, limits.get("memory_bytes", 0))
        formations.set_limits(tx, app_id, kind, limits)
    if change.image_digest is not None and not change.beside:
        for entry in entries.values():
            if entry.stopped:
                formations.set_stopped(tx, app_id, entry.type, False)
    return {kind: entry.limits for kind, entry in formations.of_app(tx, app_id).items() if entry.limits}


def _check_fit(type: str, memory_bytes: int) -> None:
    """No instance can have more memory than the machine."""
    there = machine_bytes()
    if memory_bytes > there:
        raise BadInput(
            f"{type} does not fit: it asks for {shown_memory(memory_bytes)} of memory, this machine has"
            f" {shown_memory(there)}.",
            "Ask for less.",
            cause="does not fit",
        )
