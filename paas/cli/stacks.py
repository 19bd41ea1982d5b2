"""Stacks: the base systems that apps are built and run on."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import client, command, json_option, run_stream


@command("stacks")
@json_option
def stacks(as_json: bool) -> None:
    """List stacks."""
    found = client().get("/stacks")["stacks"]
    if as_json:
        return output.print_json(found)
    output.heading("Stacks")
    output.table(
        [item["name"], output.size(item.get("size_bytes")), str(item.get("created", ""))] for item in found
    )


@command("stacks:create")
@click.argument("name")
def stacks_create(name: str) -> None:
    """Build a stack on this machine, or find it built."""
    with output.Progress(f"Creating stack {output.plain(name)}") as progress:
        run_stream(progress, client().stream("POST", "/stacks", {"name": name}), details=True)
        progress.done()
