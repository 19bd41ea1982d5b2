"""Routing settings: what happens to requests before an instance gets them. A change makes no release."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, the_app
from paas.api.bodies import body, dict_of, fields, list_of, text
from paas.api.context import Context, context
from paas.api.edit import edit
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.model import App
from paas.nouns.names import DomainPath, UserName, shown
from paas.routing import files
from paas.routing.settings import (
    APP_WIDE,
    AUTH,
    BY_NAME,
    MOST_NETWORKS,
    MOST_USERS,
    PAGE_BYTES,
    PAGES,
    Values,
    check_size,
    leads_to,
    network,
    setting,
    shown_values,
)
from paas.store import Tx, domains, routing
from router.rules.own_answers import ANSWERS
from router.rules.policy import hash_password

routes = Blueprint("routing", __name__)

_NO_PAGE = (404, 405, 414, 431, 499, 501, 505)
"""Statuses of refusals before the app is known, and of clients that have gone."""

PAGE_CODES = sorted(
    {word for f in ANSWERS.values() if f.status >= 400 and f.status not in _NO_PAGE for word in (f.code, str(f.status)) if word}
)  # fmt: skip


@routes.get("/v1/apps/<app_name>/routing")
@needs(Access.APP)
def show(app_name: str) -> dict[str, Any]:
    with context().store.read() as tx:
        return {"routing": _json(routing.of_app(tx, the_app().id))}


@routes.patch("/v1/apps/<app_name>/routing")
@needs(Access.APP)
def change(app_name: str) -> dict[str, Any]:
    ctx, app = context(), the_app()
    data = body(
        optional={
            "domain": DomainPath.parse,
            "set": dict_of(setting, lambda value: value, 100),
            "unset": list_of(setting, 100),
            "auth": _both("set", dict_of(UserName.parse, _password, MOST_USERS), UserName.parse),
            "allow": _both("add", list_of(_network, MOST_NETWORKS), _network),
            "pages": _both("set", dict_of(_page_code, _page, 100), _page_code),
        }
    )
    if not any(value for name, value in data.items() if name != "domain"):
        raise BadInput("Nothing is named that should change.", "Name a setting, like max-requests=100.")
    wanted = {name: value or {} for name, value in data.items()}
    wanted["set"] = {row.name: row.read(value) for row, value in wanted["set"].items()}
    wanted["unset"] = [row.name for row in wanted["unset"]]
    if pages := wanted["pages"].get("set"):
        wanted["pages"]["set"] = {code: _keep_page(ctx, page) for code, page in pages.items()}
    domain = data["domain"] or APP_WIDE
    with edit(app) as made:
        if words := _apply(made.tx, ctx, app, domain, wanted):
            line = ", ".join(words) + (f" for {domain}" if domain else "")
            made.record("routing.change", {"domain": domain, "changes": words}, line)
        after = routing.of_app(made.tx, app.id)
    return {"routing": _json(after), "applied": made.applied()}


def _apply(tx: Tx, ctx: Context, app: App, domain: str, wanted: Mapping[str, Any]) -> list[str]:
    """Write what changes; a description of each change. Raises BadInput, NotFound."""
    hosts = {ctx.settings.app_host(app.name), *(item.name for item in domains.of_app(tx, app.id))}
    if domain and domain not in hosts:
        raise NotFound(f"{app.name} has no domain {domain}.", "See: paas domains")
    before = routing.of_app(tx, app.id).get(domain, {})
    after = _changed(before, wanted)
    for name in wanted["set"]:
        if domain and BY_NAME[name].whole_app:
            raise BadInput(f"{name} is for the whole app.", "Set it without a domain.")
    canonical = after.get("canonical-host")
    if canonical and not leads_to(canonical, hosts):
        raise BadInput(
            f"canonical-host: {canonical} does not lead to {app.name}.",
            f"Add it first: paas domains:add {canonical}",
        )
    if wanted["set"].get("https-redirect") and not (ctx.settings.https or ctx.settings.trust):
        raise BadInput(
            "https-redirect: this platform does not listen for https.",
            "Give the server --https, or trust the proxy that does.",
        )
    for name, most in (("allow", MOST_NETWORKS), (AUTH, MOST_USERS)):
        if len(after.get(name, ())) > most:
            raise BadInput(f"{name} has {len(after[name])} entries.", f"At most {most} fit.")
    check_size({**routing.of_app(tx, app.id), domain: after}, hosts)
    changed = [name for name in (*BY_NAME, AUTH, PAGES) if after.get(name) != before.get(name)]
    for name in changed:
        routing.put(tx, app.id, domain, name, after.get(name))
    return [_described(name, before, after) for name in changed]


def _changed(before: Values, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The values afterwards. Raises BadInput, NotFound."""
    both = [name for name in wanted["unset"] if name in wanted["set"]]
    if both:
        raise BadInput(f"{both[0]} is both set and unset.")
    after = {
        name: value for name, value in {**before, **wanted["set"]}.items() if name not in wanted["unset"]
    }
    if after.get("sticky") is True:
        after["sticky"] = before.get("sticky") or secrets.token_urlsafe(24)
    networks = _without(dict.fromkeys(after.get("allow", ())), wanted["allow"], "network")
    changes = {
        AUTH: _without(after.get(AUTH, {}), wanted["auth"], "user") | _hashed(wanted["auth"].get("set", {})),
        PAGES: _without(after.get(PAGES, {}), wanted["pages"], "page for") | wanted["pages"].get("set", {}),
        "allow": list(networks | dict.fromkeys(wanted["allow"].get("add", ()))),
    }
    for name, value in changes.items():
        if value or name in wanted["set"]:
            after[name] = value
        elif wanted[name]:
            after.pop(name, None)
    return after


def _without(present: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`present` without the names to remove. Raises NotFound for one that is not there."""
    for name in wanted.get("remove", ()):
        if name not in present:
            raise NotFound(
                f"There is no {what} {name}.", f"There is: {', '.join(present)}." if present else ""
            )
    return {name: value for name, value in present.items() if name not in wanted.get("remove", ())}


def _hashed(users: Mapping[str, str]) -> dict[str, str]:
    return {name: hash_password(password, secrets.token_hex(16)) for name, password in users.items()}


def _described(name: str, before: Values, after: Values) -> str:
    """One change, without secrets."""
    if name in BY_NAME:
        value = shown_values(after).get(name)
        return f"Unset {name}" if value is None else f"Set {name}={value}"
    old, new = before.get(name, {}), after.get(name, {})
    kept = [key for key in new if new[key] != old.get(key)]
    lost = [key for key in old if key not in new]
    what = "users" if name == AUTH else "error pages"
    parts = [f"{verb} {what} {' '.join(keys)}" for verb, keys in (("Set", kept), ("Remove", lost)) if keys]
    return " and ".join(parts)


def _both(adding: str, rule: Any, removed: Any) -> Any:
    """Rule for {adding, remove}; either key may be absent."""
    return fields({adding: rule, "remove": list_of(removed, 1000)}, needed=False)


def _password(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable():
        raise BadInput("The password is not 1 to 256 printable characters.")
    return value


def _network(value: Any) -> str:
    try:
        return network(text(value, 100))
    except ValueError as error:
        raise BadInput(f"{shown(value)} {error}.") from None


def _page_code(value: Any) -> str:
    code = value.upper() if isinstance(value, str) else ""
    if code not in PAGE_CODES:
        raise BadInput(
            f"{shown(value)} is no code that the router answers with for an app.",
            f"Codes: {', '.join(PAGE_CODES)}.",
        )
    return code


def _page(value: Any) -> bytes:
    data = text(value, PAGE_BYTES).encode()
    if not 0 < len(data) <= PAGE_BYTES:
        raise BadInput(f"The page has {len(data)} bytes.", f"A page may have 1 to {PAGE_BYTES} bytes.")
    return data


def _keep_page(ctx: Context, data: bytes) -> str:
    return files.put(ctx.layout.edge, "pages", ".html", data)


def _json(found: routing.Routing) -> dict[str, Any]:
    layers = {
        domain: {
            "settings": shown_values(values),
            "users": sorted(values.get(AUTH, ())),
            "pages": sorted(values.get(PAGES, ())),
        }
        for domain, values in {APP_WIDE: {}, **found}.items()
    }
    return {"app": layers.pop(APP_WIDE), "domains": layers}
