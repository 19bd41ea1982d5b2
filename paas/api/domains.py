"""Domains: host names of an app beside the one that follows from its name."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body
from paas.api.context import Context, context
from paas.api.edit import edit
from paas.api.shapes import domain_json
from paas.nouns.errors import BadInput
from paas.nouns.model import App
from paas.nouns.names import DomainPath
from paas.routing.settings import check_size
from paas.store import Tx, certificates, domains, routing

routes = Blueprint("domains", __name__)

_MOST = 100


@routes.get("/v1/apps/<app_name>/domains")
@needs(Access.APP)
def list_domains(app_name: str) -> dict[str, Any]:
    ctx, app = context(), the_app()
    with ctx.store.read() as tx:
        shown = [domain_json(domain) for domain in domains.of_app(tx, app.id)]
    return {"domains": shown, "own": ctx.settings.app_host(app.name)}


@routes.post("/v1/apps/<app_name>/domains")
@needs(Access.APP)
def add(app_name: str) -> tuple[dict[str, Any], int]:
    ctx, app = context(), the_app()
    name: DomainPath = body(required={"name": DomainPath.parse})["name"]
    check_claim(name.partition("/")[0], ctx.settings.domain)
    with edit(app) as change:
        names = [item.name for item in domains.of_app(change.tx, app.id)]
        if len(names) >= _MOST:
            raise BadInput(
                f"{app.name} has {_MOST} domains already.",
                f"Remove one first: paas domains:remove {names[0]} -a {app.name}",
            )
        check_size(routing.of_app(change.tx, app.id), [ctx.settings.app_host(app.name), *names, name])
        domain = domains.add(change.tx, app.id, name, anywhere=principal().is_admin)
        change.record("domain.add", {"name": name}, f"Add domain {name}")
    return {**domain_json(domain), "applied": change.applied()}, 201


def host_names(tx: Tx, app: App, ctx: Context) -> list[str]:
    """The hosts that lead to the app, wildcards among them; its own comes first."""
    names = [item.host for item in domains.of_app(tx, app.id)]
    return list(dict.fromkeys([ctx.settings.app_host(app.name), *names]))


def check_claim(name: str, platform: str) -> None:
    """No app may have the platform's own domain, a name below it, or a wildcard over it. Raises BadInput."""
    if name == platform or name.endswith("." + platform):
        raise BadInput(
            f"{name} lies in the platform's own domain.",
            f"Names below {platform} are given by the apps' names.",
        )
    if name.startswith("*.") and platform.endswith(name[1:]):
        raise BadInput(f"{name} covers the platform's own domain, {platform}.", "Name the hosts one by one.")


@routes.delete("/v1/apps/<app_name>/domains/<path:name>")
@needs(Access.APP)
def remove(app_name: str, name: str) -> dict[str, Any]:
    app, domain = the_app(), DomainPath.parse(name)
    with edit(app) as change:
        domains.remove(change.tx, app.id, domain)
        certificates.keep_only(change.tx, app.id, host_names(change.tx, app, context()))
        change.record("domain.remove", {"name": domain}, f"Remove domain {domain}")
    return {"name": domain, "applied": change.applied()}
