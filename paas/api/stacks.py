"""Stacks: the base systems, shared by every platform on the machine."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal
from paas.api.bodies import body, boolean
from paas.api.context import Context, context
from paas.api.streams import Cancelled, Emit, stream
from paas.build.platform import spawner_errors
from paas.build.pythons import pythons_in
from paas.build.stack import make_stack
from paas.nouns import errors
from paas.nouns.names import StackName
from runtime.stack import build as stacks

routes = Blueprint("stacks", __name__)

_SHOWN = ("name", "digests", "run", "build", "created", "size_bytes", "packages")


@routes.get("/v1/stacks")
@needs(Access.USER)
def list_stacks() -> dict[str, Any]:
    return {"stacks": _stacks(context())}


def _stacks(ctx: Context) -> list[dict[str, Any]]:
    found = []
    for path in sorted(ctx.layout.stacks.glob("*.json")):
        try:
            data = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        shown = {key: data[key] for key in _SHOWN if key in data}
        found.append({**shown, "pythons": list(pythons_in(data.get("packages", ())))})
    return found


@routes.post("/v1/stacks")
@needs(Access.ADMIN)
def create() -> Response:
    """Build a stack unless it exists. The build goes on when the client hangs up."""
    ctx = context()
    name: str = body(required={"name": StackName.parse})["name"]

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        with spawner_errors():
            make_stack(ctx, name, line=emit, cancelled=cancelled)
        return {"stacks": [stack for stack in _stacks(ctx) if stack.get("name") == name]}

    return stream(work)


@routes.get("/v1/stacks/apps")
@needs(Access.USER)
def list_apps() -> dict[str, Any]:
    """On which stack the caller's apps stand; `current` is false for one that is older than the newest of its name."""
    from paas.release.rebase import standings

    who = principal()
    seen = [standing for standing in standings(context()) if who.may_touch(standing.app)]
    return {
        "apps": [
            {
                "name": one.app.name,
                "stack": one.image.stack,
                "release": one.release.number,
                "current": one.current,
            }
            for one in seen
        ]
    }


@routes.post("/v1/stacks/<name>/update")
@needs(Access.ADMIN)
def update(name: str) -> Response:
    """Build a stack anew beside the old one (unless `build` is false), and rebase the apps that stand on an older one."""
    from paas.release.rebase import Rebase

    ctx, who = context(), principal().name
    stack_name = StackName.parse(name)
    build = body(required={"build": boolean})["build"]
    if stacks.load(ctx.layout.stacks, stack_name) is None:
        raise errors.NotFound(f"There is no stack {stack_name} on this machine.", "See: paas stacks")

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        if build:
            with spawner_errors():
                make_stack(ctx, stack_name, line=emit, cancelled=cancelled, again=True)
        stack = stacks.load(ctx.layout.stacks, stack_name)
        if stack is None or cancelled():
            raise errors.Cancelled("No app was rebased.", cause="cancelled")
        outcomes = Rebase(ctx, stack, who, emit, cancelled).run()
        apps = [{**vars(one), "release": one.release or None} for one in outcomes]
        return {"stack": stack.name, "created": stack.created, "apps": apps}

    return stream(work)
