"""Access to an app by password and by network, and its error pages."""

from __future__ import annotations

import sys

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_option, command
from paas.cli.inputs import read_file, read_line
from paas.cli.routing import change_routing, domain_option, routing_of
from paas.nouns.errors import BadInput
from paas.nouns.text import quoted
from paas.routing.settings import PAGE_BYTES


@command("auth")
@about_app
@domain_option
def auth(app: str, domain: str | None) -> Answer:
    """List the users for basic auth; without one, an app needs no password."""
    yield from _list(
        app, domain, "Users", routing_of(app, domain)["users"], "No user: nobody is asked for a password."
    )


@command("auth:add")
@click.argument("user")
@app_option
@domain_option
def auth_add(user: str, app: str, domain: str | None) -> Answer:
    """Require a name and a password of visitors (basic auth); type that of USER, or give it on standard input."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = read_line("The password").rstrip("\r\n")
    body = {"auth": {"set": {user: password}}}
    layer = change_routing(f"Adding user {quoted(user)} to {app}", app, domain, body)
    yield layer["users"]


@command("auth:remove")
@click.argument("user")
@app_option
@domain_option
def auth_remove(user: str, app: str, domain: str | None) -> Answer:
    """Remove a user; without the last one, an app needs no password."""
    body = {"auth": {"remove": [user]}}
    left = change_routing(f"Removing user {quoted(user)} from {app}", app, domain, body)["users"]
    if not left:
        output.note("No user is left: everybody may ask, without a password.")
    yield left


@command("allow")
@about_app
@domain_option
def allow(app: str, domain: str | None) -> Answer:
    """List the networks that may send requests; without one, everybody may."""
    yield from _list(
        app,
        domain,
        "Networks",
        _networks(routing_of(app, domain)["settings"]),
        "No network: everybody may ask.",
    )


@command("allow:add")
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@app_option
@domain_option
def allow_add(networks: tuple[str, ...], app: str, domain: str | None) -> Answer:
    """Allow these addresses or networks; visitors from elsewhere get 403."""
    body = {"allow": {"add": list(networks)}}
    layer = change_routing(f"Allowing {quoted(' '.join(networks))}", app, domain, body)
    yield _networks(layer["settings"])


@command("allow:remove")
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@app_option
@domain_option
def allow_remove(networks: tuple[str, ...], app: str, domain: str | None) -> Answer:
    """Remove networks from the list; without the last one, everybody may send requests."""
    body = {"allow": {"remove": list(networks)}}
    layer = change_routing(f"Removing {quoted(' '.join(networks))}", app, domain, body)
    left = _networks(layer["settings"])
    if not left:
        output.note("No network is left: everybody may ask.")
    yield left


@command("errors")
@about_app
@domain_option
def errors(app: str, domain: str | None) -> Answer:
    """List the codes for which the app has an error page of its own."""
    yield from _list(
        app, domain, "Error Pages", routing_of(app, domain)["pages"], "No page: the platform's own are sent."
    )


@command("errors:set")
@click.argument("code")
@click.argument("file")
@app_option
@domain_option
def errors_set(code: str, file: str, app: str, domain: str | None) -> Answer:
    """Answer with this HTML page when the router answers with CODE: a status like 503, or an H-code like H80, which
    counts first. FILE may be «-» for standard input."""
    body = {"pages": {"set": {code: _read_page(file)}}}
    layer = change_routing(f"Setting the page for {quoted(code)} of {app}", app, domain, body)
    yield layer["pages"]


@command("errors:unset")
@click.argument("codes", metavar="CODE...", nargs=-1, required=True)
@app_option
@domain_option
def errors_unset(codes: tuple[str, ...], app: str, domain: str | None) -> Answer:
    """Return to the platform's own page."""
    body = {"pages": {"remove": list(codes)}}
    layer = change_routing(f"Removing the page for {quoted(' '.join(codes))} of {app}", app, domain, body)
    yield layer["pages"]


def _read_page(file: str) -> str:
    """Raises BadInput, NotFound."""
    data = read_file(file, PAGE_BYTES, over_ssh_hint="ssh paas@HOST errors:set CODE - < FILE")
    if not data:
        raise BadInput(f"{quoted(file)} is empty.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadInput(f"{quoted(file)} is not UTF-8 text.") from None


def _networks(settings: dict[str, str]) -> list[str]:
    return [word for word in settings.get("allow", "").split(",") if word and word != "everybody"]


def _list(app: str, domain: str | None, title: str, found: list[str], nothing: str) -> Answer:
    yield found
    output.heading(f"{quoted(domain) if domain else app} {title}")
    if not found and not domain:
        output.note(nothing)
    for item in found:
        output.result(item)
