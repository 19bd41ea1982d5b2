"""Hooks: a forge tells of a push to a repository elsewhere, and the app is built and deployed from there."""

from __future__ import annotations

import secrets
import time
from collections import deque
from contextlib import suppress
from typing import Any, cast

from flask import Blueprint, current_app, request
from werkzeug.exceptions import ClientDisconnected

from paas.api.access import Access, lost_maker, needs, principal, the_app, the_hook
from paas.api.bodies import body, ended_after, text
from paas.api.context import Context, context
from paas.api.edit import edit
from paas.api.hook_builds import EXTENSION, HookBuilds
from paas.api.shapes import hook_json
from paas.nouns.deliveries import Delivery, is_signed, parse_delivery
from paas.nouns.errors import BadInput, Forbidden, TooMany, Unauthorized
from paas.nouns.model import App, Hook
from paas.nouns.names import BranchName
from paas.nouns.remoteurl import RemoteRepository
from paas.store import Tx, hooks

routes = Blueprint("hooks", __name__)

_MOST = 20
_BODY_BYTES, _BODY_S = 4 << 20, 10.0
_DELIVERIES, _DELIVERIES_S = 30, 60.0
_heard: dict[str, deque[float]] = {}
"""When each hook was last used, by its id."""


@routes.get("/v1/apps/<app_name>/hooks")
@needs(Access.APP)
def list_hooks(app_name: str) -> dict[str, Any]:
    app = the_app()
    with context().store.read() as tx:
        found = hooks.of_app(tx, app.id)
        return {"hooks": [{**hook_json(hook), **_refused(tx, app, hook)} for hook in found]}


def _refused(tx: Tx, app: App, hook: Hook) -> dict[str, str]:
    lost = lost_maker(tx, app, hook)
    return {"said": lost} if lost else {}


@routes.post("/v1/apps/<app_name>/hooks")
@needs(Access.APP)
def create(app_name: str) -> tuple[dict[str, Any], int]:
    """Make a hook for the repository at `url`; only this answer has its secret."""
    ctx, app = context(), the_app()
    given = body(required={"url": text}, optional={"branch": BranchName.parse})
    remote = RemoteRepository.parse(given["url"])
    if remote.ref:
        raise BadInput("A hook's address has no #REF.", "Name the branch with --branch.")
    with edit(app) as change:
        if len(hooks.of_app(change.tx, app.id)) >= _MOST:
            raise BadInput(f"{app.name} has {_MOST} hooks already.", "Remove one first.")
        hook = hooks.add(
            change.tx,
            app.id,
            id=secrets.token_hex(16),  # typed by hand: no «-» at its beginning, which an option has
            url=given["url"],
            branch=given["branch"] or app.deploy_branch,
            secret=secrets.token_urlsafe(32),
            created_by=principal().name,
        )
        change.record("hook.create", {"id": hook.id}, f"Create a hook for {hook.branch} of {remote}")
    address, unreachable = ctx.settings.hook_url(hook.id)
    return {**hook_json(hook), "address": address, "secret": hook.secret, "unreachable": unreachable}, 201


@routes.delete("/v1/apps/<app_name>/hooks/<hook_id>")
@needs(Access.APP)
def remove(app_name: str, hook_id: str) -> dict[str, Any]:
    app = the_app()
    with edit(app) as change:
        hooks.remove(change.tx, app.id, hook_id)
        change.record("hook.remove", {"id": hook_id}, f"Remove hook {hook_id}")
    _heard.pop(hook_id, None)
    return {"id": hook_id}


@routes.post("/hooks/<hook_id>")
@needs(Access.HOOK)
def deliver(hook_id: str) -> tuple[dict[str, Any], int]:
    """Believe a delivery only if it is signed; nothing of it is parsed before. The build goes on after the answer."""
    ctx, hook = context(), the_hook()
    data = _body()
    headers = {name.lower(): value for name, value in request.headers.items()}
    if not is_signed(headers, data, hook.secret):
        raise Unauthorized("The signature is missing, or does not fit the hook's secret.")
    _check_rate(hook.id)
    with ctx.store.read() as tx:
        if lost := lost_maker(tx, the_app(), hook):
            raise Forbidden(f"{lost[0].upper()}{lost[1:]}.", "Make another: paas hooks:create")
    said, status = _take(ctx, hook, parse_delivery(headers, request.mimetype, data))
    return {"message": said}, status


def _body() -> bytes:
    """The whole body, within a bound of bytes and of time: each byte of a slow one comes in time. Raises BadInput."""
    request.max_content_length = _BODY_BYTES
    data = b""
    with ended_after(_BODY_S), suppress(ClientDisconnected):
        data = request.get_data(cache=False)
    if len(data) < (request.content_length or 0):
        raise BadInput(f"The body did not come whole within {_BODY_S:g} s.", "Deliver it again.")
    return data


def _take(ctx: Context, hook: Hook, delivery: Delivery) -> tuple[str, int]:
    """What is said to a delivery, with its status; a build that it asks for begins when there is room."""
    wanted = delivery.kind == "push" and delivery.branch == hook.branch
    if wanted:
        said = f"{hook.branch} is at {delivery.commit[:7]}: it will be built"
    elif delivery.kind == "ping":
        said = "pong"
    elif delivery.branch:
        what = "was deleted" if delivery.kind == "deleted" else "was pushed"
        said = f"nothing to do: {delivery.branch} {what}, and this hook deploys {hook.branch}"
    else:
        said = "nothing to do: only pushes of branches are of interest"
    with ctx.store.write() as tx:
        hooks.heard(tx, hook.id, said, wanted=wanted)
    if wanted:
        cast(HookBuilds, current_app.extensions[EXTENSION]).go()
    return said, 202 if wanted else 200


def _check_rate(id: str) -> None:
    """Raises TooMany."""
    now, times = time.monotonic(), _heard.setdefault(id, deque(maxlen=_DELIVERIES))
    if len(times) == _DELIVERIES and now - times[0] < _DELIVERIES_S:
        raise TooMany(f"This hook was used {_DELIVERIES} times within a minute.", "Try again in a moment.")
    times.append(now)
