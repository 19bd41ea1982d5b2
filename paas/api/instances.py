"""What runs: every live instance, and the places of the formation where none does."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, the_app
from paas.api.bodies import boolean, query
from paas.api.context import Context, context
from paas.api.shapes import image_of, limits_json, release_of
from paas.nouns.model import CANARY, App, FormationEntry, Image, Instance, Release
from paas.runs.specs import WEB
from paas.store import Tx, canaries, formations, instances, releases
from runtime.client import SpawnerError

routes = Blueprint("instances", __name__)

_RECENT = 20


@routes.get("/v1/apps/<app_name>/instances")
@needs(Access.APP)
def show(app_name: str) -> dict[str, Any]:
    where, app = context(), the_app()
    wants_stats = query({"stats": boolean})["stats"]
    with where.store.read() as tx:
        shown = _live(tx, app) + _vacant(tx, app)
    shown.sort(key=_place)
    if wants_stats:
        for one in shown:
            one["stats"] = _stats(where, one["id"]) if one["id"] else None
    return {"instances": shown}


def _place(one: dict[str, Any]) -> tuple[bool, bool, str, int, bool]:
    """Web first, runs last; who leaves a place stands behind who takes it."""
    leaving = one["state"] in ("draining", "stopping")
    return one["kind"] != "process", one["type"] != "web", one["type"], one["number"], leaving


def _live(tx: Tx, app: App) -> list[dict[str, Any]]:
    entries = formations.of_app(tx, app.id)
    releases_of: dict[int | None, tuple[Release | None, Image | None]] = {}
    found = []
    for instance in instances.live_of(tx, app.id):
        if instance.kind == "build" or (instance.kind == "run" and instance.state == "stopping"):
            continue  # an ended run waits for its reader
        number = instance.release_number
        if number not in releases_of:
            release = releases.get(tx, app.id, number) if number is not None else None
            releases_of[number] = release, image_of(tx, release)
        release, image = releases_of[number]
        entry = _canary_entry(tx, app, release) if instance.canary else entries.get(instance.type)
        found.append(_instance_json(tx, instance, image.processes if image else {}, entry))
    return found


def _canary_entry(tx: Tx, app: App, release: Release | None) -> FormationEntry:
    """What a canary of this release asks for, as if it were a process type."""
    canary, web = canaries.of_app(tx, app.id), formations.of_app(tx, app.id).get(WEB)
    runs = web is not None and web.quantity > 0 and not web.stopped
    limits = release.limits.get(WEB, {}) if release else {}
    return FormationEntry(app.id, CANARY, canary.quantity if canary else 0, limits, stopped=not runs)


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


def _vacant(tx: Tx, app: App) -> list[dict[str, Any]]:
    """Wanted places without an instance: stopped, crashed and waiting for the next try, or about to start."""
    image: Image | None = image_of(tx, release_of(tx, app))
    if image is None:
        return []
    taken = {i.name for i in instances.live_of(tx, app.id)}
    found = []
    for type, entry in formations.of_app(tx, app.id).items():
        if type == "release" or type not in image.processes:
            continue
        for number in range(1, entry.quantity + 1):
            if f"{type}.{number}" in taken:
                continue
            last = next(iter(instances.recent_of_slot(tx, app.id, type, number, 1)), None)
            found.append(_vacant_json(app, app.release_number, entry, number, image.processes[type], last))
    return found + _vacant_canary(tx, app, taken)


def _vacant_canary(tx: Tx, app: App, taken: set[str]) -> list[dict[str, Any]]:
    canary = canaries.of_app(tx, app.id)
    release = releases.get(tx, app.id, canary.release_number) if canary else None
    image = image_of(tx, release)
    if canary is None or image is None:
        return []
    entry, found = _canary_entry(tx, app, release), []
    for number in range(1, canary.quantity + 1):
        if f"{CANARY}.{number}" not in taken:
            last = next(iter(instances.recent_of_slot(tx, app.id, WEB, number, 1, canary=True)), None)
            found.append(_vacant_json(app, canary.release_number, entry, number, image.processes[WEB], last))
    return found


def _vacant_json(
    app: App, release: int | None, entry: FormationEntry, number: int, command: str, last: Instance | None
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
        "release": release,
        "command": command,
        "address": None,
        "limits": limits_json(entry.limits),
        "restarts": 0,
        "cause": last.cause if last and down and not entry.stopped else "",
    }


def _stats(where: Context, runtime_id: str) -> Any:
    try:
        return dict(where.spawner.stats(runtime_id))
    except (SpawnerError, OSError):
        return None
