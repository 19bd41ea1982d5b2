"""Making the next release: from the serving one and a change against it. Transactions, nothing waits."""

from __future__ import annotations

import time
from collections.abc import Mapping

from paas.nouns.errors import BadInput, Conflict, TooMany
from paas.nouns.model import App, Image, Release
from paas.nouns.units import shown_memory
from paas.release.capacity import machine_bytes
from paas.release.change import Change, Parts, Promote, Push
from paas.runs.specs import RELEASE_TYPE, WEB
from paas.store import Tx, canaries, configs, events, formations, images, releases

CHANGES, CHANGES_S = 120, 60.0
"""An app may have this many releases in this many seconds; then changes other than pushes are refused."""


def next_release(tx: Tx, app: App, base: Release | None, change: Change) -> Release:
    """Make the release that follows `base`, the serving one. Without an image it only records the new state.

    Raises BadInput, Conflict or NotFound for an impossible change.
    """
    if not isinstance(change, Push):
        _check_rate(tx, app)
    parts = change.parts(tx, app, Parts.of(base))
    image = None if parts.image_digest is None else images.get(tx, app.id, parts.image_digest)
    if parts.image_digest is not None and image is None:
        raise BadInput(f"Image {parts.image_digest[:19]} does not belong to this app.")
    if isinstance(change, Push) and not change.beside:
        _start_stopped(tx, app.id)
    release = releases.create(
        tx,
        app.id,
        image_digest=parts.image_digest,
        config_number=parts.config_number,
        limits=_update_formation(tx, app.id, parts.limits, image),
        description=change.description,
        commit=parts.commit,
        origin=parts.origin,
        actor=change.actor,
        state="pending" if image else "succeeded",
    )
    configs.prune(tx, app.id, releases.used_configs(tx, app.id, releases.CONFIGS_SHOWN))
    detail = {"release": release.number, "description": change.description}
    events.add(tx, app.id, change.actor, "release.create", detail)
    return release


def promoted(tx: Tx, app: App, change: Promote) -> Release | None:
    """The canary's release, if a push made it for the canary and it never served: it needs no copy. Raises Conflict."""
    canary = canaries.of_app(tx, app.id)
    if canary is None or canary.release_number != change.to:
        raise Conflict(f"v{change.to} is no longer the canary of {app.name}.", "See: paas releases")
    release = releases.get(tx, app.id, canary.release_number)
    if release is None or release.state != "pending":
        return None
    detail = {"release": release.number, "description": change.description}
    events.add(tx, app.id, change.actor, "release.promote", detail)
    return release


def _check_rate(tx: Tx, app: App) -> None:
    """Limit the releases that config and limit changes make, because each adds rows. Raises TooMany."""
    now = time.time()
    made = releases.made_since(tx, app.id, now - CHANGES_S)
    if len(made) >= CHANGES:
        wait_s = max(1, round(made[-CHANGES] + CHANGES_S - now))
        raise TooMany(
            f"{app.name} has had {len(made)} releases within a minute; {CHANGES} are allowed.",
            f"Try again in {wait_s} s. One command can set many vars: paas config:set A=1 B=2",
        )


def _update_formation(
    tx: Tx, app_id: str, changed: Mapping[str, dict[str, int]], image: Image | None
) -> dict[str, dict[str, int]]:
    """Give new process types a row and changed limits to the others; returns the limits of every type."""
    known = formations.of_app(tx, app_id)
    if image is not None:
        for type in image.processes.keys() - known.keys() - {RELEASE_TYPE}:
            formations.ensure(tx, app_id, type, _first_quantity(image, type))
    for type, limits in changed.items():
        _check_fit(type, limits.get("memory_bytes", 0))
        formations.set_limits(tx, app_id, type, limits)
    return {type: entry.limits for type, entry in formations.of_app(tx, app_id).items() if entry.limits}


def _first_quantity(image: Image, type: str) -> int:
    """What app.json asks for, else one web process and none of the others."""
    wishes = image.manifest.get("formation")
    wish = wishes.get(type) if isinstance(wishes, dict) else None
    quantity = wish.get("quantity") if isinstance(wish, dict) else None
    return quantity if isinstance(quantity, int) else int(type == WEB)


def _start_stopped(tx: Tx, app_id: str) -> None:
    for entry in formations.of_app(tx, app_id).values():
        if entry.stopped:
            formations.set_stopped(tx, app_id, entry.type, False)


def _check_fit(type: str, memory_bytes: int) -> None:
    """Refuse a memory limit above the machine's memory. Raises BadInput."""
    there = machine_bytes()
    if memory_bytes > there:
        raise BadInput(
            f"{type} does not fit: it asks for {shown_memory(memory_bytes)} of memory, this machine has"
            f" {shown_memory(there)}.",
            "Ask for less.",
            cause="does not fit",
        )
