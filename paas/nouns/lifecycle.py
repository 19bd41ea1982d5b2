"""The state machines of deployments and instances, as tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Table = Mapping[str, Mapping[str, str]]

DEPLOYMENT: Table = {
    "pending": {"release": "releasing", "start": "starting", "fail": "failed", "cancel": "cancelled"},
    "releasing": {"start": "starting", "fail": "failed", "cancel": "cancelled"},
    "starting": {"switch": "switching", "fail": "failed", "cancel": "cancelled"},
    "switching": {"commit": "draining", "fail": "failed", "cancel": "cancelled"},
    "draining": {"finish": "succeeded"},
    "succeeded": {},
    "failed": {},
    "cancelled": {},
}
"""Entering `draining` is the commit point: the release serves, and nothing takes it back."""

INSTANCE: Table = {
    "starting": {"healthy": "up", "stop": "stopping", "exit": "ended"},
    "up": {"drain": "draining", "stop": "stopping", "exit": "ended"},
    "draining": {"stop": "stopping", "exit": "ended"},
    "stopping": {"exit": "ended"},
    "ended": {},
}
"""A restart is a new instance; why one ended is data on its row."""

COMMITTED = "draining"
FINISHED_DEPLOYMENT = frozenset(state for state, events in DEPLOYMENT.items() if not events)


class WrongTransition(ValueError):
    """No event leads from this state to the target; nothing was changed."""


def check(table: Table, state: str, target: str) -> None:
    """Raises WrongTransition unless one event leads from `state` to `target`."""
    if target not in table.get(state, {}).values():
        raise WrongTransition(f"no event leads from {state!r} to {target!r}")
