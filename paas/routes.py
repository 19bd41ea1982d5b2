"""From rows to the router's table: which host leads to which backends. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paas.model import App, Deployment, Instance
from paas.routing import APP_WIDE
from paas.routing import flags as routing_flags
from paas.specs import WEB, WEB_PORT


@dataclass(frozen=True)
class AppRoutes:
    """What the table needs to know of one app. `hosts` may have a path, `example.com/api`; `web` is the desired
    count of web instances; `has_image` is false before the first push; `booting` says that a first instance is on
    its way; `instances` are the live ones of kind process; `routing` is what people set, by domain."""

    app: App
    hosts: tuple[str, ...]
    web: int
    has_image: bool
    booting: bool
    deployment: Deployment | None
    instances: tuple[Instance, ...]
    routing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def target_release(app: App, deployment: Deployment | None) -> int | None:
    """The release whose instances new requests go to: the serving one, or the one being switched to."""
    if deployment is not None and deployment.state in ("switching", "draining"):
        return deployment.release_number
    return app.release_number


def route_table(apps: Iterable[AppRoutes], generation: int, *, workers: int = 1) -> dict[str, Any]:
    """The whole table, for so many router workers. An app that is being destroyed has no route; one without a
    backend that takes requests has the H-code to answer in its route's flags."""
    routes: list[dict[str, Any]] = []
    pools: dict[str, list[dict[str, Any]]] = {}
    for view in apps:
        if view.app.destroying:
            continue
        backends = _backends(view)
        pool = view.app.id if backends else None
        if backends:
            pools[view.app.id] = backends
        active = any(not backend["draining"] for backend in backends)
        error = {} if active else {"error": _error_code(view)}
        for domain in view.hosts:
            host, slash, path = domain.partition("/")
            own = view.routing.get(domain, {})
            flags = routing_flags(view.routing.get(APP_WIDE, {}), own, hosts=view.hosts, workers=workers)
            routes.append(
                {
                    "host": host,
                    "path": slash + path or "/",
                    "app": view.app.name,
                    "log": view.app.id,
                    "pool": pool,
                    "flags": {**error, **flags},
                }
            )
    routes.sort(key=lambda route: (route["host"], route["path"]))
    return {"generation": generation, "routes": routes, "pools": pools}


def _backends(view: AppRoutes) -> list[dict[str, Any]]:
    target = target_release(view.app, view.deployment)
    waiting = view.deployment.release_number if view.deployment else None
    backends = []
    for instance in view.instances:
        if instance.type != WEB or not instance.address or instance.state not in ("up", "draining"):
            continue
        if instance.state == "up" and instance.release_number == waiting != target:
            continue
        backends.append(
            {
                "id": instance.runtime_id,
                "address": instance.address,
                "port": instance.port or WEB_PORT,
                "weight": 1,
                "draining": instance.state == "draining" or instance.release_number != target,
                "dyno": instance.name,
            }
        )
    return backends


def _error_code(view: AppRoutes) -> str:
    if not view.has_image:
        return "H81"
    if view.web == 0:
        return "H14"
    return "H20" if view.booting else "H10"
