"""The sentences about instances and deployments that the app's log and the push output get. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paas.converge.plan import Advance
from paas.nouns.errors import DeployFailed
from paas.nouns.model import Canary, Deployment, Instance
from paas.nouns.text import WARNING
from paas.runs.specs import WEB


def up(instance: Instance, note: str) -> list[str]:
    """Lines of the push output."""
    took = max(0.0, (instance.healthy_at or instance.created_at) - instance.created_at)
    lines = [
        f"       {instance.name} up" + (f" (healthy after {took:.2f} s)" if instance.type == WEB else "")
    ]
    if note:
        lines.append(f"{WARNING}{instance.name}: {note}")
    return lines


def ended(instance: Instance, exit: Mapping[str, Any] | None, error: DeployFailed | None) -> Iterator[str]:
    """Lines of the app's log about an instance that has ended; `instance` is its row as it was before."""
    if exit is not None and exit.get("signal"):
        yield f"Process ended by signal {exit['signal']}"
    elif exit is not None:
        yield f"Process exited with status {exit.get('status')}"
    if error is not None and error.cause == "out of memory":
        yield f"Error R15 (Killed for memory): {error.message}"
    if instance.kind != "process":
        return
    if error is not None and instance.state in ("starting", "up", "draining"):
        yield f"State changed from {instance.state} to crashed ({error.cause})"
    elif instance.state == "stopping" and "diagnosis" not in instance.detail:
        yield "State changed from stopping to stopped"


_OUTCOMES = {"draining": "serves", "failed": "failed", "cancelled": "was cancelled"}


def advanced(action: Advance, deployment: Deployment, canary: Canary | None) -> Iterator[str]:
    """Lines of the app's log about a step of its deployment; most steps have none. `canary` is the app's before it."""
    if action.state in _OUTCOMES:
        cause = f": {(action.error or {}).get('message', '')}" if action.state == "failed" else ""
        yield f"Release v{deployment.release_number} {_OUTCOMES[action.state]}{cause}"
    if canary is not None and action.state == "draining":
        yield f"Canary v{canary.release_number} ended"
