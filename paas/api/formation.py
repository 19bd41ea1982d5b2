"""The formation: how many of each process, within which limits; stop and restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body as json_body
from paas.api.bodies import dict_of, fields, raw_body, text, whole
from paas.api.context import Context, context
from paas.api.edit import edit
from paas.api.releasing import deploy
from paas.api.shapes import formation_json, limits_json
from paas.api.streams import Cancelled, Emit, stream
from paas.build.platform import spawner_errors
from paas.nouns.errors import BadInput, Conflict, DeployFailed, NotFound
from paas.nouns.model import App, Image
from paas.nouns.names import (
    MAX_QUANTITY,
    InstanceName,
    ProcessType,
    check_limit,
    quantity,
    scalable,
    shown_limit,
)
from paas.release.capacity import admitted
from paas.release.change import SetLimits
from paas.release.deployment import restart
from paas.release.formation import follow_formation
from paas.store import Tx, apps, events, formations, images, instances, releases

routes = Blueprint("formation", __name__)

RUN_TYPE = "run"
_LOOK_EVERY_S = 0.1


@routes.get("/v1/apps/<app_name>/formation")
@needs(Access.APP)
def show(app_name: str) -> dict[str, Any]:
    with context().store.read() as tx:
        return {"formation": _formation(tx, the_app())}


@routes.patch("/v1/apps/<app_name>/formation")
@needs(Access.APP)
def scale(app_name: str) -> Response:
    ctx, app = context(), the_app()
    changes = json_body(required={"changes": dict_of(scalable, _change, 100)})["changes"]
    if not changes:
        raise BadInput("No process type is named.", "Name at least one, like web=2.")
    with edit(app) as made, admitted(made.tx, ctx.settings.memory_overcommit):
        tx = made.tx
        known = _types(_image(tx, app))
        entries = formations.of_app(tx, app.id)
        old, done = {}, {}
        for type, change in changes.items():
            _check_type(app, type, known)
            before = entries[type].quantity if type in entries else 0
            after = change["quantity"] if "quantity" in change else before + change["delta"]
            if not 0 <= after <= MAX_QUANTITY:
                raise BadInput(
                    f"{type} cannot be scaled to {after}.", f"It must be from 0 to {MAX_QUANTITY}."
                )
            formations.set_quantity(tx, app.id, type, after)
            old[str(type)], done[str(type)] = before, after
        now = " ".join(f"{type}@{count}" for type, count in done.items())
        made.record("formation.scale", {"quantities": done}, f"Scaled to {now}")
    actor = principal().name
    return _converging(ctx, app, done, undo=lambda error: _scale_back(ctx, app, actor, old, done, error))


def _scale_back(
    ctx: Context, app: App, who: str, old: dict[str, int], done: dict[str, int], error: DeployFailed
) -> DeployFailed:
    """Take back a scale when an instance did not come up, unless somebody has scaled since; the error to send."""
    with ctx.store.write() as tx:
        entries = formations.of_app(tx, app.id)
        back = {
            t: n for t, n in old.items() if n < done[t] and t in entries and entries[t].quantity == done[t]
        }
        for type, count in back.items():
            formations.set_quantity(tx, app.id, type, count)
        if back:
            events.add(tx, app.id, who, "formation.scale", {"quantities": back})
    if not back:
        return error
    ctx.poke()
    now = " ".join(f"{type}={count}" for type, count in back.items())
    ctx.log(app.id, f"Scaled back to {now}: {error.message}")
    return DeployFailed(
        error.message, f"Scaled back to {now}. {error.hint}", cause=error.cause, lines=error.lines
    )


@routes.post("/v1/apps/<app_name>/restart")
@needs(Access.APP)
def restart_processes(app_name: str) -> Response:
    ctx, app, who = context(), the_app(), principal()
    type, number = _selection()
    with ctx.store.read() as tx:
        known = _types(_image(tx, app))
        _check_type(app, type, known)
        entry = formations.of_app(tx, app.id).get(type or "")
        if number is not None and (entry is None or number > entry.quantity):
            raise NotFound(f"{app.name} has no {type}.{number}.", "See: paas ps")
    restart(ctx, app.id, actor=who.name, type=type, number=number)
    what = "all processes" if type is None else type if number is None else f"{type}.{number}"
    ctx.log(app.id, f"Restart {what} by {who.name}")
    return _converging(ctx, app, known if type is None else [type])


@routes.post("/v1/apps/<app_name>/stop")
@needs(Access.APP)
def stop(app_name: str) -> Response:
    """Stop a type (all without one) until it is scaled or restarted; or end one run by its name."""
    ctx, app = context(), the_app()
    type, number = _selection()
    if number is not None:
        return _stop_run(ctx, app, f"{type}.{number}")
    with edit(app) as made:
        tx = made.tx
        known = _types(_image(tx, app))
        _check_type(app, type, known)
        types = list(known) if type is None else [type]
        for each in types:
            formations.ensure(tx, app.id, each, 0)
            formations.set_stopped(tx, app.id, each, True)
        made.record("formation.stop", {"types": types}, f"Stop {', '.join(types)}")
    return _converging(ctx, app, types)


def _stop_run(ctx: Context, app: App, name: str) -> Response:
    with edit(app) as made:
        found = [i for i in instances.live_of(made.tx, app.id) if i.name == name]
        if not found:
            raise NotFound(f"{app.name} has no {name}.", "See: paas ps")
        run = found[0]
        if run.kind != "run":
            raise BadInput(f"{name} would be started again.", "Stop its type, or scale it down.")
        if run.state != "stopping":
            instances.stop(made.tx, run.id, "stopped")
        made.log(f"Stop {name} by {made.actor}")

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        while not cancelled() and _runs(ctx, run.runtime_id):
            time.sleep(_LOOK_EVERY_S)
        emit(f"{name} stopped")
        return {"formation": _read_formation(ctx, app)}

    return stream(work)


def _runs(ctx: Context, runtime_id: str) -> bool:
    with spawner_errors():
        return any(item.id == runtime_id and item.state == "running" for item in ctx.spawner.list())


@routes.get("/v1/apps/<app_name>/limits")
@needs(Access.APP)
def show_limits(app_name: str) -> dict[str, Any]:
    with context().store.read() as tx:
        return {"limits": _limits(tx, the_app())}


@routes.patch("/v1/apps/<app_name>/limits")
@needs(Access.APP)
def set_limits(app_name: str) -> Response:
    ctx, app, who = context(), the_app(), principal()
    wanted = {ProcessType.parse(type): _limit_changes(changes) for type, changes in raw_body().items()}
    if not any(wanted.values()):
        raise BadInput("No limit is named.", "Name at least one, like memory=256M.")
    with ctx.store.read() as tx:
        known = [*_types(_image(tx, app)), "release", RUN_TYPE]
        entries = formations.of_app(tx, app.id)
    for type in wanted:
        _check_type(app, type, known)
    whole_limits: dict[str, dict[str, int]] = {
        type: {**(entries[type].limits if type in entries else {}), **new} for type, new in wanted.items()
    }
    words = [
        f"{type} limits " + " ".join(f"{_WORDS[key]}={shown_limit(key, value)}" for key, value in new.items())
        for type, new in wanted.items()
    ]
    change = SetLimits(actor=who.name, description="Set " + ", ".join(words), limits=whole_limits)
    return deploy(ctx, app, change, lambda tx, after: {"limits": _limits(tx, after)})


_WORDS = {"memory_bytes": "memory", "cpu_millis": "cpu", "pids": "pids"}


def _limit_changes(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise BadInput("The limits of a type are not an object.")
    return {key: check_limit(key, number) for key, number in value.items()}


def _change(value: Any) -> dict[str, int]:
    if isinstance(value, dict) and "delta" in value:
        return dict(fields({"delta": whole(-MAX_QUANTITY, MAX_QUANTITY)})(value))
    return dict(fields({"quantity": quantity})(value))


def _selection() -> tuple[str | None, int | None]:
    data = json_body(optional={"type": scalable, "name": text})
    if data["name"] is not None:
        name = InstanceName.parse(data["name"])
        if data["type"] not in (None, name.type):
            raise BadInput("The type and the name disagree.")
        return str(name.type), name.number
    return data["type"], None


def _image(tx: Tx, app: App) -> Image:
    image = images.of(tx, releases.serving(tx, app))
    if image is None:
        raise Conflict(f"Nothing has been deployed to {app.name} yet.", "Push it first: git push paas main")
    return image


def _types(image: Image) -> list[str]:
    return [type for type in image.processes if type != "release"]


def _check_type(app: App, type: str | None, known: Collection[str]) -> None:
    """Raises NotFound for a type that the app has not; None stands for all that it has."""
    if type is not None and type not in known:
        raise NotFound(f"{app.name} has no process type {type}.", f"It has {', '.join(known) or 'none'}.")


def _formation(tx: Tx, app: App) -> list[dict[str, Any]]:
    return formation_json(formations.of_app(tx, app.id), images.of(tx, releases.serving(tx, app)))


def _read_formation(ctx: Context, app: App) -> list[dict[str, Any]]:
    with ctx.store.read() as tx:
        after = apps.by_id(tx, app.id)
        if after is None:
            raise NotFound("The app was destroyed meanwhile.")
        return _formation(tx, after)


def _limits(tx: Tx, app: App) -> dict[str, dict[str, int]]:
    entries = formations.of_app(tx, app.id)
    image = images.of(tx, releases.serving(tx, app))
    types = list(
        dict.fromkeys([*(image.processes if image else ()), *(t for t, e in entries.items() if e.limits)])
    )
    return {type: limits_json(entries[type].limits if type in entries else {}) for type in types}


def _converging(
    ctx: Context,
    app: App,
    types: Collection[str],
    undo: Callable[[DeployFailed], DeployFailed] = lambda error: error,
) -> Response:
    """Stream a line per instance that comes up or goes. When one fails to come up, `undo` takes the change back and gives the
    error to send."""

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        try:
            for line in follow_formation(ctx, app.id, types, cancelled=cancelled):
                emit(line)
        except DeployFailed as error:
            raise (undo(error) if error.cause else error) from error
        return {"formation": _read_formation(ctx, app)}

    return stream(work)
