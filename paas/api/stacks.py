"""Stacks: the base systems, shared by every platform on the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs
from paas.api.bodies import body
from paas.api.context import Context, context, spawner_errors
from paas.api.errors import internal_error
from paas.api.streams import Cancelled, Emit, stream
from paas.daemon import threads
from paas.nouns.errors import PaasError
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
    """Build a stack, or find it built. It goes on when the client hangs up."""
    ctx = context()
    name: str = body(required={"name": StackName.parse})["name"]
    progress = ctx.layout.spawner_socket.parent / f"stack-{name}.log"

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        failed: list[PaasError] = []
        offset = _size(progress)
        thread = threads.start("stack", lambda: _build(ctx, name, failed))
        while thread.is_alive() and not cancelled():
            thread.join(0.2)
            offset = _emit_new(progress, offset, emit)
        if failed:
            raise failed[0]
        return {"stacks": [stack for stack in _stacks(ctx) if stack.get("name") == name]}

    return stream(work)


def _build(ctx: Context, name: str, failed: list[PaasError]) -> None:
    try:
        with spawner_errors():
            ctx.spawner.ensure_stack(name)
    except PaasError as error:
        failed.append(error)
    except Exception as error:
        failed.append(internal_error(error))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _emit_new(path: Path, offset: int, emit: Emit) -> int:
    """Emit whole lines behind `offset`; where the next begin."""
    try:
        with path.open("rb") as file:
            file.seek(offset if offset <= _size(path) else 0)
            start, data = file.tell(), file.read()
    except OSError:
        return offset
    end = data.rfind(b"\n") + 1
    for line in data[:end].splitlines():
        emit(line.decode(errors="replace"))
    return start + end
