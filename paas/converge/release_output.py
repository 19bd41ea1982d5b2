"""Copies the output of a release command into its deployment's progress lines while it runs."""

from __future__ import annotations

from paas.converge.world import AppState
from paas.logs import Follower, Query, message_of
from paas.nouns.model import Instance
from paas.store import Store, deployments
from runtime.home import Layout

MAX_LINES = 2000


class ReleaseOutput:
    """Follows the log of every live release instance. After a restart of the loop it goes on with new lines."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store, self._layout = store, layout
        self._followers: dict[int, Follower] = {}
        self._counts: dict[int, int] = {}

    def expect(self, instance: Instance) -> None:
        """An instance is about to start: everything a release command prints is new."""
        if instance.kind == "release":
            self._follow(instance.app_id, instance.id)

    def _follow(self, app_id: str, instance_id: int) -> None:
        query = Query(source="app", instances=frozenset([f"i{instance_id}"]))
        self._followers[instance_id] = Follower(self._layout, app_id, query)

    def follow(self, states: list[AppState]) -> bool:
        """Add what came since the last look, the last time while the instance's row has still not ended; returns
        whether there was anything."""
        running = {
            instance.id: (state.app.id, instance.deployment_id)
            for state in states
            for instance in state.live
            if instance.kind == "release" and instance.deployment_id is not None
        }
        for id in [id for id in self._followers if id not in running]:
            del self._followers[id]
            self._counts.pop(id, None)
        carried = False
        for id, (app_id, deployment_id) in running.items():
            if id not in self._followers:
                self._follow(app_id, id)
            if deployment_id is not None:
                carried |= self._carry(id, deployment_id)
        return carried

    def _carry(self, id: int, deployment_id: int) -> bool:
        lines = self._followers[id].poll()
        room = max(0, MAX_LINES - self._counts.get(id, 0))
        self._counts[id] = self._counts.get(id, 0) + len(lines)
        if not lines or not room:
            return False
        with self._store.write() as tx:
            for line in lines[:room]:
                text = message_of(line)
                deployments.add_line(tx, deployment_id, f"       {text}")
        return True
