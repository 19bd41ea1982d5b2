"""Stacks: the base systems, shared by every platform on the machine."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs
from paas.api.bodies import body
from paas.api.context import Context, context
from paas.api.streams import Cancelled, Emit, stream
from paas.build.platform import spawner_errors
from paas.build.stack import make_stack
from paas.nouns.names import StackName

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
        found.append({key: data[key] for key in _SHOWN if key in data})
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
