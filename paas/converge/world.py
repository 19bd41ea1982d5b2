"""What the loop decides from: the rows of one moment (desired and recorded) and the facts observed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from paas.converge.health import Answer
from paas.nouns.errors import DeployFailed
from paas.nouns.model import App, Deployment, Image, Instance, Release
from paas.routing.table import AppRoutes
from paas.runs.desired import Slot
from paas.runs.specs import WEB
from paas.store import (
    Tx,
    apps,
    builds,
    certificates,
    deployments,
    desired,
    domains,
    images,
    instances,
    releases,
    routing,
)

RECENT = 12
"""How many of a slot's newest instances decide about its restart: more crashes than lead to the longest delay."""


@dataclass(frozen=True)
class AppState(AppRoutes):
    """One app's rows: what should run, and what does. `new_*` are those of the unfinished deployment.

    `ended` are the newest ended instances of wanted slots that have no live instance, newest first; `tried` all
    instances of the unfinished deployment.
    """

    new_release: Release | None = None
    new_image: Image | None = None
    ended: Mapping[Slot, tuple[Instance, ...]] = field(default_factory=dict)
    tried: tuple[Instance, ...] = ()
    has_certificate: bool = False
    """Whether the app or the platform has a certificate; read while a deployment is unfinished."""
    began_at: float = 0.0
    """When the operation that opened the unfinished deployment began: a push begins with its build."""

    def release_of(self, instance: Instance) -> tuple[Release, Image] | None:
        """What the instance runs, if it is among these rows."""
        for release, image in (
            (self.release, self.image),
            (self.new_release, self.new_image),
            (self.canary_release, self.canary_image),
        ):
            if release is not None and image is not None and release.number == instance.release_number:
                return release, image
        return None

    @property
    def host_names(self) -> tuple[str, ...]:
        """`hosts` without their paths."""
        return tuple(dict.fromkeys(host.partition("/")[0] for host in self.hosts))


@dataclass
class Facts:
    """Observed, not stored: lost when the loop restarts, and observed again.

    `containers` is runtime id -> running, exited or broken, None while the spawner is away. `acked`: every router
    worker has the table of the rows as they are. `orphaned` are instances of builds whose builder is dead, `removing`
    apps whose remains are being removed, `signalled` what has had its SIGTERM from this loop.
    """

    containers: dict[str, str] | None = None
    ready: dict[int, Answer] = field(default_factory=dict)
    failed: dict[int, DeployFailed] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    acked: bool = False
    orphaned: frozenset[int] = frozenset()
    removing: frozenset[str] = frozenset()
    signalled: frozenset[int] = frozenset()
    age_s: Callable[[int], float] = lambda id: 0.0
    step_age_s: Callable[[int], float] = lambda id: 0.0


class Ages:
    """How long rows have been in their state, by the monotonic clock, so that a jump of the wall clock neither
    ends nor prolongs anything. A row first seen after a restart is as old as the wall clock says, within reason."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, int], tuple[str, float]] = {}

    def see(self, rows: list[tuple[str, int, str, float]], *, now: float, wall: float) -> None:
        """`rows`: (kind, id, state, entered at, wall time). Forgets rows that are not among them."""
        since: dict[tuple[str, int], tuple[str, float]] = {}
        for kind, id, state, entered_at in rows:
            known = self._since.get((kind, id))
            if known is None or known[0] != state:
                known = (state, now - min(max(0.0, wall - entered_at), 3600.0))
            since[(kind, id)] = known
        self._since = since

    def of(self, kind: str, id: int) -> float:
        """Seconds in the present state; 0 for a row never seen."""
        known = self._since.get((kind, id))
        return 0.0 if known is None else time.monotonic() - known[1]


def read_world(tx: Tx, domain: str) -> list[AppState]:
    """Every app's rows, in one snapshot."""
    live: dict[str, list[Instance]] = {}
    for instance in instances.live(tx):
        live.setdefault(instance.app_id, []).append(instance)
    unfinished = {deployment.app_id: deployment for deployment in deployments.unfinished(tx)}
    hosts: dict[str, list[str]] = {}
    for entry in domains.all(tx):
        hosts.setdefault(entry.app_id, []).append(entry.name)
    settings = routing.all(tx)
    return [
        _app_state(
            tx,
            app,
            tuple(live.get(app.id, ())),
            unfinished.get(app.id),
            hosts=(f"{app.name}.{domain}", *hosts.get(app.id, [])),
            settings=settings.get(app.id, {}),
        )
        for app in apps.all(tx)
    ]


def _app_state(
    tx: Tx,
    app: App,
    live: tuple[Instance, ...],
    deployment: Deployment | None,
    *,
    hosts: tuple[str, ...],
    settings: routing.Routing,
) -> AppState:
    new_release = releases.get(tx, app.id, deployment.release_number) if deployment else None
    wish = desired.of_app(tx, app)
    covered = {i.slot for i in live if i.kind == "process" and i.restart_token >= app.restart_token}
    ended = {slot: _ended(tx, app, *slot) for slot in wish.wanted(wish.image) if slot not in covered}
    for slot in wish.wanted_canary():
        if slot not in covered:
            ended[slot] = _ended(tx, app, WEB, slot[1], canary=True)
    return AppState(
        **vars(wish),
        deployment=deployment,
        new_release=new_release,
        new_image=images.of(tx, new_release),
        live=live,
        ended=ended,
        tried=tuple(instances.of_deployment(tx, deployment.id)) if deployment else (),
        hosts=hosts,
        routing=settings,
        has_certificate=deployment is not None
        and bool(certificates.of_app(tx, app.id) or certificates.of_app(tx, None)),
        began_at=_began_at(tx, deployment, new_release),
    )


def _began_at(tx: Tx, deployment: Deployment | None, release: Release | None) -> float:
    if deployment is None:
        return 0.0
    if (
        deployment.push
        and release
        and release.image_digest
        and release.created_at >= deployment.created_at - 1
    ):
        began = builds.began_at(tx, deployment.app_id, release.image_digest)
        if began is not None:
            return min(began, deployment.created_at)
    return deployment.created_at  # a promoted canary was built long before


def _ended(tx: Tx, app: App, type: str, number: int, *, canary: bool = False) -> tuple[Instance, ...]:
    recent = instances.recent_of_slot(tx, app.id, type, number, RECENT, canary=canary)
    return tuple(i for i in recent if i.ended_at is not None)
