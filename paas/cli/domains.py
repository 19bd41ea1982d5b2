"""Domains: host names beside the app's own."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import alias, app_option, app_path, client, command, json_option


@command("domains")
@app_option
@json_option
def domains(app: str, as_json: bool) -> None:
    """List the host names that lead to an app."""
    answer = client().get(app_path(app, "domains"))
    if as_json:
        return output.print_json(answer["domains"])
    output.heading(f"{app} Domains")
    output.result(answer["own"])
    for item in answer["domains"]:
        output.result(item["name"])


alias("domains:list", domains)


@command("domains:add")
@click.argument("name")
@app_option
def domains_add(name: str, app: str) -> None:
    """Let a host name, or *.NAME, lead to an app."""
    with output.Progress(f"Adding {output.plain(name)} to {app}") as progress:
        client().post(app_path(app, "domains"), {"name": name})
        progress.done()


@command("domains:remove")
@click.argument("name")
@app_option
def domains_remove(name: str, app: str) -> None:
    """Take a host name away from an app."""
    with output.Progress(f"Removing {output.plain(name)} from {app}") as progress:
        client().delete(app_path(app, "domains", name))
        progress.done()
