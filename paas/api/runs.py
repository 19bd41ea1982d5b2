"""One-off commands: start one, attach to it."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, boolean, dict_of, fields, list_of, text, whole
from paas.api.context import Context, context
from paas.api.limiter import limiter
from paas.api.relay import connect, relay, wants_upgrade
from paas.daemon import threads
from paas.nouns.errors import BadInput, Conflict, NotFound
from paas.nouns.lifecycle import WrongTransition
from paas.nouns.model import App, Instance
from paas.nouns.names import ConfigName, config_value, shown
from paas.release.one_off import Command, OneOff, add_row, start
from paas.store import Tx, desired, events, instances, releases
from runtime.spec import Terminal

routes = Blueprint("runs", __name__)

MAX_RUNS = 20
"""Live runs of one app. Each needs an address, and the platform has some thousands."""

_COMMAND_BYTES = 100_000
_EVENT_WORDS = 20
_ATTACH_GRACE_S = 30.0
_waiting: dict[int, threading.Timer] = {}


@routes.post("/v1/apps/<app_name>/runs")
@needs(Access.APP)
def create(app_name: str) -> tuple[dict[str, Any], int]:
    """Start a command of the serving release; without `detach` its client must attach soon."""
    ctx, app, actor = context(), the_app(), principal().name
    command = _command(actor)
    block_base = ctx.block_base()
    with ctx.store.write() as tx:
        one_off = _add_row(tx, app, command, block_base)
    start(ctx, one_off)
    instance = one_off.instance
    ctx.log(app.id, f"Starting process with command `{' '.join(command.words)}` by {actor}")
    if not command.detach:
        _expect_client(ctx, instance)
    return {"instance": instance.runtime_id, "name": instance.name}, 201


def _command(actor: str) -> Command:
    """The command of the request. Raises BadInput."""
    data = body(
        required={"command": list_of(lambda value: text(value, 128 * 1024), 1000)},
        optional={
            "terminal": fields({"rows": whole(1, 1000), "columns": whole(1, 1000), "term": _term}),
            "detach": boolean,
            "env": dict_of(ConfigName.parse, lambda value: config_value("the variable", value), 100),
        },
    )
    words, detach, terminal = data["command"], bool(data["detach"]), data["terminal"]
    if not words or not any(word.strip() for word in words):
        raise BadInput("No command is given.", "Name one, like: paas run bash")
    if sum(len(word.encode()) for word in words) > _COMMAND_BYTES:
        raise BadInput(f"The command is longer than {_COMMAND_BYTES} bytes.")
    if detach and terminal:
        raise BadInput("A detached command has no terminal.")
    env = dict(data["env"] or {}) | ({"TERM": terminal["term"]} if terminal else {})
    size = Terminal(terminal["rows"], terminal["columns"]) if terminal else None
    return Command(words, actor, detach, size, env)


def _add_row(tx: Tx, app: App, command: Command, block_base: int) -> OneOff:
    """The row of a run of the serving release, and its event. Raises Conflict."""
    origin = desired.origin(tx, app, releases.serving(tx, app))
    if origin is None:
        raise Conflict(f"Nothing has been deployed to {app.name} yet.", "Push it first: git push paas main")
    running = [one for one in instances.live_of(tx, app.id) if one.kind == "run"]
    if len(running) >= MAX_RUNS:
        hint = f"Stop one first: paas ps:stop {running[0].name} -a {app.name}"
        raise Conflict(f"{MAX_RUNS} commands of {app.name} run already.", hint)
    one_off = add_row(tx, origin, command, block_base=block_base)
    event = {"instance": one_off.instance.runtime_id, "command": command.words[:_EVENT_WORDS]}
    events.add(tx, app.id, command.actor, "run.start", event)
    return one_off


@routes.get("/v1/apps/<app_name>/runs/<runtime_id>/attach")
@needs(Access.APP)
def attach(app_name: str, runtime_id: str) -> Response:
    ctx, app = context(), the_app()
    match = re.fullmatch(r"i([1-9][0-9]{0,14})", runtime_id)
    if match is None:
        raise NotFound(f"{app.name} has no {shown(runtime_id)}.")
    with ctx.store.read() as tx:
        instance = instances.get(tx, int(match[1]))
    if instance.app_id != app.id or instance.kind != "run":
        raise NotFound(f"There is no instance {runtime_id}.")
    client = wants_upgrade()
    leave = limiter.acquire_lasting(principal())
    try:
        shim = connect(str(ctx.layout.run_instances / instance.runtime_id / "attach.sock"))
        timer = _waiting.pop(instance.id, None)
        if timer is not None:
            timer.cancel()
        return relay(client, shim)
    finally:
        leave()


def _expect_client(ctx: Context, instance: Instance) -> None:
    """Stop the run unless somebody attaches soon: its client may have died between the two requests."""

    def give_up() -> None:
        if _waiting.pop(instance.id, None) is not None:
            with suppress(WrongTransition), ctx.store.write() as tx:
                instances.stop(tx, instance.id, "nobody attached to it")
            ctx.poke()

    _waiting[instance.id] = threads.later("attach grace", _ATTACH_GRACE_S, give_up)


def _term(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", value):
        raise BadInput(f"{shown(value)} is not a terminal type.", "It must be like xterm-256color.")
    return value
