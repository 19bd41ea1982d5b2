"""Routing settings: what happens to requests before an instance gets them. A change makes no release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_option, app_path, client, command
from paas.cli.inputs import read_pairs
from paas.nouns.errors import NotFound
from paas.nouns.names import DomainPath, both_forms
from paas.nouns.text import quoted
from paas.routing.settings import SETTINGS

Layer = dict[str, Any]
"""What is set for the whole app, or for one domain: `settings`, `users`, `pages`."""

_EMPTY: Layer = {"settings": {}, "users": [], "pages": []}


def domain_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--domain`; the function gets `domain`."""
    return click.option("--domain", metavar="NAME", help="For this domain of the app only.")(function)


def routing_of(app: str, domain: str | None) -> Layer:
    """The layer of the whole app, or of the domain. Raises NotFound if the app has no such domain."""
    answer = client().get(app_path(app, "routing"))
    _check_domain(app, domain, answer["routing"])
    return _layer(answer, domain)


def _check_domain(app: str, domain: str | None, routing: dict[str, Any]) -> None:
    if domain and DomainPath.parse(domain) not in routing["domains"]:
        found = client().get(app_path(app, "domains"))
        if DomainPath.parse(domain) not in (found["own"], *(item["name"] for item in found["domains"])):
            raise NotFound(f"{app} has no domain {quoted(domain)}.", "See: paas domains")


def change_routing(doing: str, app: str, domain: str | None, body: dict[str, Any]) -> Layer:
    """Change something and say when the router has it; what is set afterwards."""
    with output.Progress(doing + (f" for {quoted(domain)}" if domain else "")) as progress:
        answer = client().patch(app_path(app, "routing"), {**body, **({"domain": domain} if domain else {})})
        progress.applied(answer, "done")
    return _layer(answer, domain)


def _layer(answer: dict[str, Any], domain: str | None) -> Layer:
    routing = answer["routing"]
    return dict(routing["domains"].get(DomainPath.parse(domain), _EMPTY) if domain else routing["app"])


@command("router:settings")
@about_app
@domain_option
def router_settings(app: str, domain: str | None) -> Answer:
    """Show the routing settings, unset ones with their defaults."""
    routing = client().get(app_path(app, "routing"))["routing"]
    _check_domain(app, domain, routing)
    if domain:
        routing = {
            "app": routing["app"],
            "domains": {DomainPath.parse(domain): routing["domains"].get(DomainPath.parse(domain), _EMPTY)},
        }
    yield routing
    if not domain:
        output.heading(f"{app} Routing")
        chosen = routing["app"]["settings"]
        output.pairs({row.name: chosen.get(row.name, f"{row.default} (default)") for row in SETTINGS})
    for name, layer in routing["domains"].items():
        output.heading(f"{quoted(both_forms(name))} only")
        output.pairs(layer["settings"])


@command(
    "router:set",
    help="Set how requests are treated; without --domain for all hosts of the app.\n\n"
    + "\n\n".join(f"- {row.name} (else {row.default}): {row.sentence}" for row in SETTINGS)
    + "\n\nTimes are like 30s, 5m or 1h, sizes like 10M, switches on or off.",
)
@click.argument("words", metavar="KEY=VALUE...", nargs=-1, required=True)
@app_option
@domain_option
def router_set(words: tuple[str, ...], app: str, domain: str | None) -> Answer:
    values = read_pairs(words, "KEY=VALUE")
    layer = change_routing(f"Setting {quoted(', '.join(values))} of {app}", app, domain, {"set": values})
    now = {name: layer["settings"][name] for name in values}
    if now.get("https-redirect") == "on":
        _warn_without_certificate(app, domain)
    yield now
    output.pairs(now)


def _warn_without_certificate(app: str, domain: str | None) -> None:
    found = client().get(app_path(app, "domains"))
    names = (
        [DomainPath.parse(domain)] if domain else [found["own"], *(item["name"] for item in found["domains"])]
    )
    certificates = client().get(app_path(app, "certs"))["certificates"]
    answering = {host for item in certificates for host in item["hosts"]}
    missing = sorted({name.partition("/")[0] for name in names} - answering)
    if missing:
        output.warn(
            f"No certificate answers for {quoted(', '.join(missing))}, whose visitors are now sent to https."
        )
        output.warn("See: paas help certs:generate, certs:add, certs:auto:enable")


@command("router:unset")
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
@app_option
@domain_option
def router_unset(names: tuple[str, ...], app: str, domain: str | None) -> Answer:
    """Take routing settings back to their defaults; for a domain, to what the whole app has."""
    unset = list(dict.fromkeys(names))
    doing = f"Unsetting {quoted(', '.join(unset))} of {app}"
    yield change_routing(doing, app, domain, {"unset": unset})["settings"]


@command("maintenance")
@about_app
def maintenance(app: str) -> Answer:
    """Show whether an app is in maintenance mode."""
    state = routing_of(app, None)["settings"].get("maintenance", "off")
    yield {"maintenance": state == "on"}
    output.result(state)


@command("maintenance:on")
@about_app
def maintenance_on(app: str) -> Answer:
    """Answer every request with the maintenance page (503, H80); the app goes on running."""
    body = {"set": {"maintenance": "on"}}
    yield change_routing(f"Enabling maintenance mode for {app}", app, None, body)["settings"]


@command("maintenance:off")
@about_app
def maintenance_off(app: str) -> Answer:
    """Let requests through again."""
    body = {"unset": ["maintenance"]}
    yield change_routing(f"Disabling maintenance mode for {app}", app, None, body)["settings"]


@command("pause")
@click.option(
    "--for", "time", metavar="TIME", default="30s", show_default=True, help="How long a request may wait."
)
@about_app
def pause(time: str, app: str) -> Answer:
    """Hold new requests until `resume`, while a database is moved, say. Those in flight finish. Each waits TIME at
    most and is then answered with 503 (H11)."""
    layer = change_routing(f"Pausing {app}", app, None, {"set": {"pause": time}})
    output.note(
        f"Requests wait up to {layer['settings']['pause']}, then get 503 (H11). Go on with: paas resume -a {app}"
    )
    yield layer["settings"]


@command("resume")
@about_app
def resume(app: str) -> Answer:
    """Let requests through again, those that wait first."""
    yield change_routing(f"Resuming {app}", app, None, {"unset": ["pause"]})["settings"]
