"""Stacks: the base systems that apps are built and run on."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import Answer, client, command, run_stream
from paas.nouns.text import quoted


@command("stacks")
def stacks() -> Answer:
    """List stacks."""
    found = client().get("/stacks")["stacks"]
    yield found
    rows = [
        [item["name"], output.size(item.get("size_bytes")), str(item.get("created", ""))] for item in found
    ]
    output.listing("Stacks", rows, ("NAME", "SIZE", "CREATED"))


@command("stacks:create")
@click.argument("name")
def stacks_create(name: str) -> Answer:
    """Build a stack on this machine, or find it built."""
    with output.Progress(f"Creating stack {quoted(name)}") as progress:
        made = run_stream(progress, client().stream("POST", "/stacks", {"name": name}))
    yield made
