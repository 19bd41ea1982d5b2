"""Certificates for HTTPS: brought by people, made for development, or obtained by ACME. Private keys are never shown."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, the_app
from paas.api.bodies import body, boolean, list_of
from paas.api.context import Context, context
from paas.api.domains import host_names
from paas.api.edit import edit
from paas.nouns.certificates import AutoCertificate, Certificate, belongs, due_at, served
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.model import App
from paas.nouns.names import DomainName, shown
from paas.nouns.values import Address
from paas.store import Tx, certificates, domains
from paas.tls.install import install, write

routes = Blueprint("certs", __name__)

_PEM_CHARACTERS = 100_000
_MOST_DOMAINS = 100


@routes.get("/v1/apps/<app_name>/certs")
@needs(Access.APP)
def list_certificates(app_name: str) -> dict[str, Any]:
    ctx, app = context(), the_app()
    with ctx.store.read() as tx:
        mine = {item.domain: item for item in certificates.of_app(tx, app.id)}
        automatic = {item.domain: item for item in certificates.wanted(tx, app.id)}
        shared = certificates.of_app(tx, None)
        answering = served({app.id: host_names(tx, app, ctx)}, [*mine.values(), *shared])
    rows = [(domain, mine.get(domain), automatic.get(domain)) for domain in sorted({*mine, *automatic})]
    rows += [(item.domain, item, None) for item in shared if item in answering.values()]
    listed = [
        certificate_json(present, auto, domain)
        | {"hosts": sorted(host for host, item in answering.items() if item is present)}
        for domain, present, auto in rows
    ]
    return {"certificates": listed}


@routes.get("/v1/certs")
@needs(Access.ADMIN)
def list_platform() -> dict[str, Any]:
    """List the certificates for the apps' default host names."""
    with context().store.read() as tx:
        return {"certificates": [certificate_json(c, None, c.domain) for c in certificates.of_app(tx, None)]}


def certificate_json(
    present: Certificate | None, automatic: AutoCertificate | None, domain: str
) -> dict[str, Any]:
    """`auto` is true for a domain with ACME; then `error` is that of the last failure, `next_at` the time of the next try."""
    shown: dict[str, Any] = {
        "domain": domain,
        "source": None,
        "auto": automatic is not None,
        "platform": False,
    }
    if present is not None:
        shown["platform"] = present.app_id is None
        names = ("names", "source", "issuer", "fingerprint", "not_before", "not_after", "created_at")
        shown |= {name: getattr(present, name) for name in names}
    if automatic is not None:
        next_at = due_at(automatic, present)
        shown |= {"error": automatic.error, "next_at": next_at, "failures": automatic.failures}
    return shown


@routes.post("/v1/apps/<app_name>/certs")
@needs(Access.APP)
def add(app_name: str) -> tuple[dict[str, Any], int]:
    return _add(the_app())


@routes.post("/v1/certs")
@needs(Access.ADMIN)
def add_platform() -> tuple[dict[str, Any], int]:
    return _add(None)


def _add(app: App | None) -> tuple[dict[str, Any], int]:
    from paas.tls import x509

    data = body(required={"domain": _host, "certificate": _pem, "key": _pem})
    with context().store.read() as tx:
        check_domain(tx, app, context(), data["domain"])
    pair = x509.check(data["certificate"].encode(), data["key"].encode(), data["domain"], x509.utc_now())
    return _keep(app, data["domain"], pair, "added"), 201


def _pem(value: Any) -> str:
    if (
        not isinstance(value, str) or len(value) > _PEM_CHARACTERS
    ):  # not quoted in the error: it may hold a key
        raise BadInput(f"The certificate and the key must be text of at most {_PEM_CHARACTERS} characters.")
    return value


def _host(value: Any) -> str:
    host, slash, _ = value.partition("/") if isinstance(value, str) else ("", "", "")
    if slash and "." in host:
        raise BadInput(f"{shown(value)} is a part of a host.", f"A certificate is for all of {shown(host)}.")
    return DomainName.parse(value)


@routes.post("/v1/apps/<app_name>/certs/generate")
@needs(Access.APP)
def generate(app_name: str) -> tuple[dict[str, Any], int]:
    from paas.tls import x509
    from paas.tls.development_ca import development_ca

    ctx, app = context(), the_app()
    domain = body(required={"domain": _host})["domain"]
    with ctx.store.read() as tx:
        check_domain(tx, app, ctx, domain)
    pair = x509.issue(development_ca(ctx.layout), domain, x509.utc_now())
    return _keep(app, domain, pair, "generated"), 201


def _keep(app: App | None, domain: str, pair: Any, source: str) -> dict[str, Any]:
    ctx = context()
    row = write(ctx.layout, pair, app.id if app else None, domain, source)
    with edit(app) as change:
        check_domain(change.tx, app, ctx, domain)
        was_auto = app is not None and certificates.set_auto(change.tx, app.id, domain, on=False)
        install(change.tx, row, change.actor)
        change.log(f"Add a certificate for {domain} ({source}, by {row.issuer}) by {change.actor}")
    stopped = [f"{domain} had automatic certificates; they are off now."] if was_auto else []
    warnings = [*pair.warnings, *stopped]
    return certificate_json(row, None, domain) | {"warnings": warnings, "applied": change.applied()}


@routes.delete("/v1/apps/<app_name>/certs/<name>")
@needs(Access.APP)
def remove(app_name: str, name: str) -> dict[str, Any]:
    return _remove(the_app(), name)


@routes.delete("/v1/certs/<name>")
@needs(Access.ADMIN)
def remove_platform(name: str) -> dict[str, Any]:
    return _remove(None, name)


def _remove(app: App | None, name: str) -> dict[str, Any]:
    domain = DomainName.parse(name)
    with edit(app) as change:
        certificates.remove(change.tx, app.id if app else None, domain)
        change.record("certificate.remove", {"domain": domain}, f"Remove the certificate for {domain}")
    return {"domain": domain, "applied": change.applied()}


@routes.patch("/v1/apps/<app_name>/certs/auto")
@needs(Access.APP)
def set_auto(app_name: str) -> dict[str, Any]:
    """Turn automatic certificates on or off for the domains named, or for all that the app has."""
    ctx, app = context(), the_app()
    data = body(
        required={"on": boolean}, optional={"domains": list_of(DomainName.parse, _MOST_DOMAINS, " domains")}
    )
    with edit(app) as change:
        tx = change.tx
        names = list(dict.fromkeys(data["domains"] or ())) or _automatic(tx, app, ctx, on=data["on"])
        for domain in names:
            if data["on"]:
                check_domain(tx, app, ctx, domain)
                _check_public(domain)
            if not certificates.set_auto(tx, app.id, domain, on=data["on"]) and not data["on"]:
                raise NotFound(f"{domain} has no automatic certificates.", "See: paas certs")
        verb, state = ("certificate.auto", "on") if data["on"] else ("certificate.manual", "off")
        line = f"Turn automatic certificates {state} for {', '.join(names)}"
        change.record(verb, {"domains": names}, line)
    return {
        "domains": names,
        "directory": ctx.settings.acme_directory,
        "warnings": _reachability(ctx.settings.http) if data["on"] else [],
    }


def _reachability(http: Address) -> list[str]:
    if http.port == 80 and not http.host.startswith("127."):
        return []
    return [f"The authority asks at port 80, and the router listens on {http}: something must forward to it."]


def _automatic(tx: Tx, app: App, ctx: Context, *, on: bool) -> list[str]:
    """The domains meant when none is named: `on`, those that could have automatic certificates, else those that have them."""
    if on:
        names = [host for host in host_names(tx, app, ctx) if not _why_not(host)]
    else:
        names = [item.domain for item in certificates.wanted(tx, app.id)]
    if not names:
        raise BadInput(
            f"{app.name} has no domain that could have a certificate by ACME."
            if on
            else "They are off already.",
            "Add one with: paas domains:add DOMAIN" if on else "",
        )
    return names


def _check_public(domain: str) -> None:
    if why := _why_not(domain):
        raise BadInput(
            f"No authority issues a certificate for {domain}: {why}.", "See: paas certs:add --help"
        )


def _why_not(domain: str) -> str:
    if domain.startswith("*."):
        return "wildcards are proved in the DNS, not over HTTP as this platform does"
    if domain.endswith((".localhost", ".local", ".internal", ".invalid")):
        return "the name is not one of the public DNS"
    return ""


@routes.get("/v1/certs/ca")
@needs(Access.USER)
def show_ca() -> dict[str, str]:
    from paas.tls.development_ca import development_ca

    return {"certificate": development_ca(context().layout).chain_pem.decode()}


def check_domain(tx: Tx, app: App | None, ctx: Context, domain: str) -> None:
    """Refuse a domain that the app has neither itself nor by a wildcard. Without an app it must be the wildcard over
    all apps' own addresses. Raises BadInput."""
    if app is None:
        if domain != (wanted := ctx.settings.app_host("*")):
            raise BadInput(f"The platform's certificate cannot be for {domain}.", f"It must be for {wanted}.")
        return
    others = {item.host for item in domains.all(tx) if item.app_id != app.id}
    if not belongs(domain, host_names(tx, app, ctx), others):
        hint = f"Add it first: paas domains:add {domain}"
        own = ctx.settings.app_host(app.name)
        if domain.endswith(ctx.settings.app_host("")):
            hint = f"In the platform's own domain it has {own} alone."
        raise BadInput(f"{app.name} has no domain {domain}.", hint)
