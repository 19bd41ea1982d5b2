"""One-off commands: start one, attach to it."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, boolean, dict_of, fields, list_of, text, whole
from paas.api.context import Context, context, spawner_errors
from paas.api.limiter import limiter
from paas.api.relay import connect, relay, wants_upgrade
from paas.daemon import threads
from paas.nouns.errors import BadInput, Conflict, NotFound, PaasError
from paas.nouns.lifecycle import WrongTransition
from paas.nouns.model import App, Instance
from paas.nouns.names import ConfigName, config_value, shown
from paas.runs.specs import Origin, run_spec
from paas.store import Tx, configs, events, images, instances, releases
from runtime.spec import Box, Order, Terminal

routes = Blueprint("runs", __name__)

MAX_RUNS = 20
"""Live ones of an app: each has an address, of which the platform has some thousands."""

_COMMAND_BYTES = 100_000
_EVENT_WORDS = 20
_ATTACH_GRACE_S = 30.0
_waiting: dict[int, threading.Timer] = {}


@routes.post("/v1/apps/<app_name>/runs")
@needs(Access.APP)
def create(app_name: str) -> tuple[dict[str, Any], int]:
    """Start a command of the serving release; without `detach` its client must attach soon."""
    ctx, app, actor = context(), the_app(), principal().name
    command = _command()
    instance = _start(ctx, app, command, actor)
    ctx.log(app.id, f"Starting process with command `{' '.join(command.words)}` by {actor}")
    if not command.detach:
        _expect_client(ctx, instance)
    return {"instance": instance.runtime_id, "name": instance.name}, 201


@dataclass(frozen=True)
class _Command:
    """What is to run; `terminal` is the size of the client's, if it has one."""

    words: list[str]
    terminal: Terminal | None
    detach: bool
    env: dict[str, str]


def _command() -> _Command:
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
    return _Command(words, Terminal(terminal["rows"], terminal["columns"]) if terminal else None, detach, env)


def _start(ctx: Context, app: App, command: _Command, actor: str) -> Instance:
    """Row first, then the container; a start that fails ends the row."""
    base = ctx.block_base()
    with ctx.store.write() as tx:
        instance, order, box = _open(tx, app, command, actor, base)
    try:
        with spawner_errors():
            started = ctx.spawner.create(order, box)
    except PaasError as error:
        with ctx.store.write() as tx:
            instances.ended(tx, instance.id, cause=error.message)
        ctx.poke()
        raise
    with ctx.store.write() as tx:
        instances.started(tx, instance.id, address=started.address, detail={"pid": started.pid})
    ctx.poke()
    return instance


def _open(tx: Tx, app: App, command: _Command, actor: str, block_base: int) -> tuple[Instance, Order, Box]:
    """The row of a run of the serving release, and the container it asks for. Raises Conflict."""
    release = releases.serving(tx, app)
    image = images.of(tx, release)
    if release is None or image is None:
        raise Conflict(f"Nothing has been deployed to {app.name} yet.", "Push it first: git push paas main")
    if sum(one.kind == "run" for one in instances.live_of(tx, app.id)) >= MAX_RUNS:
        hint = "Stop one first: paas ps shows them, paas ps:stop ends them."
        raise Conflict(f"{MAX_RUNS} commands of {app.name} run already.", hint)
    detail = {"argv": command.words, "actor": actor, "detach": command.detach}
    instance = instances.create(
        tx, app.id, kind="run", type="run", release_number=release.number, detail=detail
    )
    event = {"instance": instance.runtime_id, "command": command.words[:_EVENT_WORDS]}
    events.add(tx, app.id, actor, "run.start", event)
    origin = Origin(app, release, image, configs.get(tx, app.id, release.config_number))
    order, box = run_spec(
        origin, instance, block_base=block_base, command=command.words,
        terminal=command.terminal, attach=not command.detach, env=command.env,
    )  # fmt: skip
    return instance, order, box


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
