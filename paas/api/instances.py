"""What runs: every live instance, and the places of the formation where none does."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, the_app
from paas.api.bodies import boolean, query
from paas.api.context import Context, context
from paas.api.shapes import limits_json
from paas.nouns.model import CANARY, App, FormationEntry, Image, Instance, Release
from paas.runs.desired import Desired
from paas.runs.specs import WEB
from paas.store import Tx, desired, images, instances, releases
from runtime.client import SpawnerError

routes = Blueprint("instances", __name__)

_RECENT = 20


@routes.get("/v1/apps/<app_name>/instances")
@needs(Access.APP)
def show(app_name: str) -> dict[str, Any]:
    ctx, app = context(), the_app()
    wants_stats = query({"stats": boolean})["stats"]
    with ctx.store.read() as tx:
        wish = desired.of_app(tx, app)
        shown = _live(tx, wish) + _vacant(tx, wish)
    shown.sort(key=_place)
    if wants_stats:
        for one in shown:
            one["stats"] = _stats(ctx, one["id"]) if one["id"] else None
    return {"instances": shown}


def _place(one: dict[str, Any]) -> tuple[bool, bool, str, int, bool]:
    """Sort key: web first, runs last, an outgoing instance after its replacement."""
    leaving = one["state"] in ("draining", "stopping")
    return one["kind"] != "process", one["type"] != "web", one["type"], one["number"], leaving


def _live(tx: Tx, wish: Desired) -> list[dict[str, Any]]:
    runs: dict[int | None, tuple[Release | None, Image | None]] = {}
    found = []
    for instance in instances.live_of(tx, wish.app.id):
        if instance.kind == "build" or (instance.kind == "run" and instance.state == "stopping"):
            continue  # an ended run waits for its reader
        number = instance.release_number
        if number not in runs:
            release = releases.get(tx, wish.app.id, number) if number is not None else None
            runs[number] = release, images.of(tx, release)
        release, image = runs[number]
        entry = _canary_entry(wish, release) if instance.canary else wish.formation.get(instance.type)
        found.append(_instance_json(tx, instance, image.processes if image else {}, entry))
    return found


def _canary_entry(wish: Desired, release: Release | None) -> FormationEntry:
    """What a canary of this release asks for, as if it were a process type."""
    limits = release.limits.get(WEB, {}) if release else {}
    quantity = wish.canary.quantity if wish.canary else 0
    return FormationEntry(wish.app.id, CANARY, quantity, limits, stopped=not wish.web_count)


def _instance_json(
    tx: Tx, instance: Instance, processes: dict[str, str], entry: FormationEntry | None
) -> dict[str, Any]:
    argv = instance.detail.get("argv")
    return {
        "id": instance.runtime_id,
        "name": instance.name,
        "kind": instance.kind,
        "type": instance.slot[0],
        "number": instance.number,
        "state": instance.state,
        "since": instance.state_at,
        "release": instance.release_number,
        "command": " ".join(argv) if isinstance(argv, list) else processes.get(instance.type, ""),
        "address": instance.address,
        "limits": limits_json(entry.limits if entry else {}),
        "restarts": _restarts(tx, instance),
        "cause": instance.cause,
    }


def _restarts(tx: Tx, instance: Instance) -> int:
    """How often this place of this release has ended by itself."""
    if instance.kind != "process":
        return 0
    slot = instances.recent_of_slot(
        tx, instance.app_id, instance.type, instance.number, _RECENT, canary=instance.canary
    )
    return sum(1 for i in slot if i.crashed and i.release_number == instance.release_number)


def _vacant(tx: Tx, wish: Desired) -> list[dict[str, Any]]:
    """Wanted places without an instance: stopped, crashed and waiting for the next try, or about to start."""
    app, image, canary_image = wish.app, wish.image, wish.canary_image
    if image is None:
        return []
    taken = {i.name for i in instances.live_of(tx, app.id)}
    found = []
    for type, number in wish.places(image):
        if f"{type}.{number}" not in taken:
            last = next(iter(instances.recent_of_slot(tx, app.id, type, number, 1)), None)
            entry, command = wish.formation[type], image.processes[type]
            found.append(_vacant_json(app, wish.release, entry, number, command, last))
    for type, number in wish.canary_places():
        if canary_image is not None and f"{type}.{number}" not in taken:
            last = next(iter(instances.recent_of_slot(tx, app.id, WEB, number, 1, canary=True)), None)
            entry, command = _canary_entry(wish, wish.canary_release), canary_image.processes[WEB]
            found.append(_vacant_json(app, wish.canary_release, entry, number, command, last))
    return found


def _vacant_json(
    app: App,
    release: Release | None,
    entry: FormationEntry,
    number: int,
    command: str,
    last: Instance | None,
) -> dict[str, Any]:
    down = last is not None and last.crashed
    return {
        "id": None,
        "name": f"{entry.type}.{number}",
        "kind": "process",
        "type": entry.type,
        "number": number,
        "state": "stopped" if entry.stopped else "crashed" if down else "starting",
        "since": last.state_at if last else app.created_at,
        "release": release.number if release else None,
        "command": command,
        "address": None,
        "limits": limits_json(entry.limits),
        "restarts": 0,
        "cause": last.cause if last and down and not entry.stopped else "",
    }


def _stats(ctx: Context, runtime_id: str) -> Any:
    try:
        return dict(ctx.spawner.stats(runtime_id))
    except (SpawnerError, OSError):
        return None
