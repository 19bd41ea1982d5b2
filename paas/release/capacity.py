"""Admission: how much of the machine's memory the limits of all apps together may promise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from paas.nouns.errors import BadInput
from paas.nouns.model import App, Canary
from paas.nouns.units import shown_memory
from paas.runs.specs import RELEASE_TYPE, WEB, limits_of
from paas.store import Tx, apps, canaries, deployments, formations, images, releases
from runtime.spec import Limits


def machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def admitted(tx: Tx, overcommit: float) -> Iterator[None]:
    """Wrap a change of counts, limits or releases: refuse it, and roll its transaction back, if it promises more
    memory than allowed. A change that promises less than before always passes. Raises BadInput."""
    before = promised(tx)
    yield
    after = promised(tx)
    total, most = sum(after.values()), int(machine_bytes() * overcommit)
    if total <= most or total <= sum(before.values()):
        return
    name = max(after, key=lambda name: after[name] - before.get(name, 0))
    raise BadInput(
        f"{name} does not fit: its processes could use {shown_memory(after[name])} of memory, those of all apps"
        f" {shown_memory(total)}; at most {shown_memory(most)} may be promised"
        f" ({overcommit:g} times the {shown_memory(machine_bytes())} of this machine).",
        f"Now promised: {shown_memory(sum(before.values()))}. Ask for less memory or fewer processes, scale another app"
        " down, or let the operator raise memory_overcommit.",
        cause="does not fit",
    )


def promised(tx: Tx) -> dict[str, int]:
    """App name → bytes of memory that its processes may use together: the sum of their limits, for what runs or will
    run of the serving release, the release being deployed, and the canary."""
    trying = {deployment.app_id: deployment.release_number for deployment in deployments.unfinished(tx)}
    beside = canaries.all(tx)
    return {
        app.name: _promised(tx, app, (app.release_number, trying.get(app.id)), beside.get(app.id))
        for app in apps.all(tx)
        if not app.destroying
    }


def _promised(tx: Tx, app: App, numbers: tuple[int | None, ...], canary: Canary | None) -> int:
    types = {type for number in numbers for type in _types(tx, app.id, number)} - {RELEASE_TYPE}
    entries = formations.of_app(tx, app.id)
    running = [entry for type, entry in entries.items() if type in types and not entry.stopped]
    total = sum(
        entry.quantity * int(entry.limits.get("memory_bytes", Limits().memory_bytes)) for entry in running
    )
    if canary is not None and any(entry.type == WEB and entry.quantity for entry in running):
        release = releases.get(tx, app.id, canary.release_number)
        total += canary.quantity * limits_of(release, WEB).memory_bytes
    return total


def _types(tx: Tx, app_id: str, number: int | None) -> tuple[str, ...]:
    image = images.of(tx, None if number is None else releases.get(tx, app_id, number))
    return () if image is None else tuple(image.processes)
