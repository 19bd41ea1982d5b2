"""Stacks: the base systems that apps are built and run on."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import client, command, run_stream
from paas.nouns.text import quoted


@command("stacks")
def stacks(as_json: bool) -> None:
    """List stacks."""
    found = client().get("/stacks")["stacks"]
    if as_json:
        return output.print_json(found)
    output.heading("Stacks")
    rows = [
        [item["name"], output.size(item.get("size_bytes")), str(item.get("created", ""))] for item in found
    ]
    output.table(rows, head=("NAME", "SIZE", "CREATED"))


@command("stacks:create")
@click.argument("name")
def stacks_create(name: str, as_json: bool) -> None:
    """Build a stack on this machine, or find it built."""
    with output.Progress(f"Creating stack {quoted(name)}") as progress:
        made = run_stream(progress, client().stream("POST", "/stacks", {"name": name}), details=True)
        progress.done()
    if as_json:
        output.print_json(made)
