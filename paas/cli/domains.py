"""Domains: host names beside the app's own."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, alias, app_option, app_path, client, command
from paas.nouns.names import both_forms, both_forms_of
from paas.nouns.text import quoted


@command("domains")
@about_app
def domains(app: str) -> Answer:
    """List the hosts, and parts of hosts, that are routed to an app."""
    answer = client().get(app_path(app, "domains"))
    yield answer["domains"]
    output.heading(f"{app} Domains")
    output.result(answer["own"])
    for item in answer["domains"]:
        output.result(both_forms(item["name"]))


alias("domains:list", domains)


@command("domains:add")
@click.argument("name")
@app_option
def domains_add(name: str, app: str) -> Answer:
    """Route a host name to an app: NAME, *.NAME for all below it, or NAME/PATH for a part of a host that apps share."""
    with output.Progress(f"Adding {quoted(both_forms_of(name))} to {app}") as progress:
        answer = client().post(app_path(app, "domains"), {"name": name})
        progress.applied(answer)
    yield answer


@command("domains:remove")
@click.argument("name")
@app_option
def domains_remove(name: str, app: str) -> Answer:
    """Remove a host name from an app."""
    with output.Progress(f"Removing {quoted(both_forms_of(name))} from {app}") as progress:
        answer = client().delete(app_path(app, "domains", name))
        progress.applied(answer)
    yield answer
