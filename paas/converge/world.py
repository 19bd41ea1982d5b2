"""What the loop decides from: the rows of one moment (desired and recorded) and the facts seen meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paas.converge.health import Answer
from paas.front.table import AppRoutes
from paas.nouns.errors import DeployFailed
from paas.nouns.model import CANARY, App, Canary, Deployment, FormationEntry, Image, Instance, Release
from paas.runs.specs import RELEASE_TYPE, WEB
from paas.store import (
    Tx,
    apps,
    builds,
    canaries,
    deployments,
    domains,
    formations,
    images,
    instances,
    releases,
    routing,
)

Slot = tuple[str, int]


@dataclass(frozen=True)
class AppState:
    """One app's rows. `image` and `release` are the serving ones, `new_*` those of the unfinished deployment,
    `canary_*` those of the canary.

    `live` are instances that have not ended; `ended` the newest ended ones of wanted slots that have no live
    instance, newest first; `tried` all instances of the unfinished deployment.
    """

    app: App
    release: Release | None = None
    image: Image | None = None
    formation: Mapping[str, FormationEntry] = field(default_factory=dict)
    deployment: Deployment | None = None
    new_release: Release | None = None
    new_image: Image | None = None
    live: tuple[Instance, ...] = ()
    ended: Mapping[Slot, tuple[Instance, ...]] = field(default_factory=dict)
    tried: tuple[Instance, ...] = ()
    hosts: tuple[str, ...] = ()
    routing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    canary: Canary | None = None
    canary_release: Release | None = None
    canary_image: Image | None = None
    began_at: float = 0.0
    """When what led to the unfinished deployment began: a push begins with its build."""

    def wanted(self, image: Image | None) -> list[Slot]:
        """The slots that should run of this image, `web` first."""
        if image is None:
            return []
        slots = [
            (kind, number)
            for kind, entry in self.formation.items()
            if kind in image.processes and kind != RELEASE_TYPE and not entry.stopped
            for number in range(1, entry.quantity + 1)
        ]
        return sorted(slots, key=lambda slot: (slot[0] != WEB, slot))

    def wanted_canary(self) -> list[Slot]:
        """The slots that should run for the canary: none while web is stopped or scaled to 0."""
        entry = self.formation.get(WEB)
        if self.canary is None or self.canary_image is None or entry is None or entry.stopped:
            return []
        runs = entry.quantity > 0 and WEB in self.canary_image.processes
        return [(CANARY, number) for number in range(1, self.canary.quantity + 1) if runs]

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

    def routes(self) -> AppRoutes:
        """The part that the router's table is made of."""
        entry = self.formation.get(WEB)
        has_web = entry is not None and not entry.stopped and self.image and WEB in self.image.processes
        return AppRoutes(
            app=self.app,
            hosts=self.hosts,
            web=entry.quantity if entry is not None and has_web else 0,
            has_image=self.image is not None,
            booting=any(
                i.type == WEB and i.state == "starting" and i.release_number == self.app.release_number
                for i in self.live
            ),
            deployment=self.deployment,
            instances=tuple(i for i in self.live if i.kind == "process"),
            routing=self.routing,
            canary=self.canary if self.wanted_canary() else None,
        )


@dataclass
class Facts:
    """What was seen, not stored: lost when the loop restarts, and found again.

    `containers` is runtime id -> running, exited or broken, None until the spawner has told. `acked`: every
    router worker has the table of the rows as they are. `orphaned` are instances of builds whose builder is dead,
    `removing` apps whose remains are being removed, `signalled` what has had its SIGTERM from this loop.
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
    settings, canary = routing.all(tx), canaries.all(tx)
    return [
        _app_state(
            tx,
            app,
            tuple(live.get(app.id, ())),
            unfinished.get(app.id),
            hosts=(f"{app.name}.{domain}", *hosts.get(app.id, [])),
            settings=settings.get(app.id, {}),
            canary=canary.get(app.id),
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
    canary: Canary | None,
) -> AppState:
    release = None if app.release_number is None else releases.get(tx, app.id, app.release_number)
    new_release = releases.get(tx, app.id, deployment.release_number) if deployment else None
    canary_release = releases.get(tx, app.id, canary.release_number) if canary else None
    state = AppState(
        app=app,
        release=release,
        image=_image(tx, release),
        formation=formations.of_app(tx, app.id),
        deployment=deployment,
        new_release=new_release,
        new_image=_image(tx, new_release),
        live=live,
        tried=tuple(instances.of_deployment(tx, deployment.id)) if deployment else (),
        hosts=hosts,
        routing=settings,
        canary=canary,
        canary_release=canary_release,
        canary_image=_image(tx, canary_release),
        began_at=_began_at(tx, deployment, new_release),
    )
    covered = {i.slot for i in live if i.kind == "process" and i.restart_token >= app.restart_token}
    ended = {
        slot: _ended(tx, app, slot[0], slot[1]) for slot in state.wanted(state.image) if slot not in covered
    } | {
        slot: _ended(tx, app, WEB, slot[1], canary=True)
        for slot in state.wanted_canary()
        if slot not in covered
    }
    return AppState(**{**state.__dict__, "ended": ended})


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
    recent = instances.recent_of_slot(tx, app.id, type, number, 12, canary=canary)
    return tuple(i for i in recent if i.ended_at is not None)


def _image(tx: Tx, release: Release | None) -> Image | None:
    if release is None or release.image_digest is None:
        return None
    return images.get(tx, release.app_id, release.image_digest)
