"""From rows to the router's table: which host leads to which backends. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from paas.nouns.model import App, Deployment, Instance
from paas.nouns.startup import WEB_PORT
from paas.routing.settings import APP_WIDE
from paas.routing.settings import flags as routing_flags
from paas.runs.desired import Desired
from paas.runs.specs import WEB


@dataclass(frozen=True)
class AppRoutes(Desired):
    """One app, as the table needs it: what should run and what runs. `hosts` may have a path, `example.com/api`;
    `live` are the instances that have not ended; `routing` holds the settings by domain."""

    hosts: tuple[str, ...] = ()
    deployment: Deployment | None = None
    live: tuple[Instance, ...] = ()
    routing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def target_release(app: App, deployment: Deployment | None) -> int | None:
    """The release whose instances new requests go to: the serving one, or the one being switched to."""
    if deployment is not None and deployment.state in ("switching", "draining"):
        return deployment.release_number
    return app.release_number


def route_table(apps: Iterable[AppRoutes], generation: int, *, workers: int = 1) -> dict[str, Any]:
    """The whole table. `workers` divide the app-wide limits.

    An app that is being destroyed has no route. Without a backend that takes requests, the route's flags have the
    H-code to answer. If the serving release and the canary both have a backend, each gets its share of the requests;
    if one of them has, it gets all.
    """
    routes: list[dict[str, Any]] = []
    pools: dict[str, list[dict[str, Any]]] = {}
    for view in apps:
        if view.app.destroying:
            continue
        backends, beside = _backends(view), _canary_backends(view)
        own, other = view.app.id, f"{view.app.id}.canary"
        pools |= {name: members for name, members in ((own, backends), (other, beside)) if members}
        active = any(not backend["draining"] for backend in backends)
        pool = own if active or (backends and not beside) else other if beside else None
        shares = _shares(view, own, other) if active and beside else {}
        error = {} if active or beside else {"error": _error_code(view)}
        for domain, flags in _flags(view, workers).items():
            host, slash, path = domain.partition("/")
            routes.append(
                {
                    "host": host,
                    "path": slash + path or "/",
                    "app": view.app.name,
                    "log": view.app.id,
                    "pool": pool,
                    **shares,
                    "flags": {**error, **flags},
                }
            )
    routes.sort(key=lambda route: (route["host"], route["path"]))
    return {"generation": generation, "routes": routes, "pools": pools}


def _flags(view: AppRoutes, workers: int) -> dict[str, dict[str, Any]]:
    """Domain → flags. Without settings of its own a domain has those of the whole app."""
    made = partial(routing_flags, view.routing.get(APP_WIDE, {}), hosts=view.hosts, workers=workers)
    plain = made({})
    return {name: made(view.routing[name]) if name in view.routing else plain for name in view.hosts}


def _shares(view: AppRoutes, own: str, canary: str) -> dict[str, Any]:
    assert view.canary is not None
    return {"shares": {own: 100 - view.canary.share, canary: view.canary.share}}


def _backends(view: AppRoutes) -> list[dict[str, Any]]:
    """Instances of the serving release, and all that drain."""
    target = target_release(view.app, view.deployment)
    waiting = view.deployment.release_number if view.deployment else None
    backends = []
    for instance in view.live:
        if not _reachable(instance) or _takes_share(view, instance):
            continue
        foreign = instance.canary or instance.release_number != target
        if instance.state == "up" and instance.release_number == waiting != target:
            continue
        backends.append(_backend(instance, draining=foreign or instance.state == "draining"))
    return backends


def _canary_backends(view: AppRoutes) -> list[dict[str, Any]]:
    """Instances of the canary. It gets its share until a deployment switches."""
    return [_backend(i, draining=False) for i in view.live if _reachable(i) and _takes_share(view, i)]


def _reachable(instance: Instance) -> bool:
    serves = instance.kind == "process" and instance.type == WEB
    return serves and bool(instance.address) and instance.state in ("up", "draining")


def _takes_share(view: AppRoutes, instance: Instance) -> bool:
    return (
        instance.canary
        and instance.state == "up"
        and view.canary is not None
        and bool(view.wanted_canary())
        and instance.release_number == view.canary.release_number
        and target_release(view.app, view.deployment) == view.app.release_number
    )


def _backend(instance: Instance, *, draining: bool) -> dict[str, Any]:
    return {
        "id": instance.runtime_id,
        "address": instance.address,
        "port": instance.port or WEB_PORT,
        "weight": 1,
        "draining": draining,
        "dyno": instance.name,
    }


def _error_code(view: AppRoutes) -> str:
    """Why no instance takes requests."""
    if view.image is None:
        return "H81"
    if not view.web_count or WEB not in view.image.processes:
        return "H14"
    booting = any(
        i.kind == "process"
        and i.type == WEB
        and i.state == "starting"
        and i.release_number == view.app.release_number
        for i in view.live
    )
    return "H20" if booting else "H10"
