"""Stacks: the base systems that apps are built and run on."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import Answer, client, command, run_stream
from paas.cli.client import part
from paas.nouns.text import quoted


@command("stacks")
def stacks() -> Answer:
    """List stacks."""
    found = client().get("/stacks")["stacks"]
    yield found
    rows = [
        [
            item["name"],
            output.size(item.get("size_bytes")),
            item.get("created", ""),
            ", ".join(item["pythons"]),
        ]
        for item in found
    ]
    output.listing("Stacks", rows, ("NAME", "SIZE", "CREATED", "PYTHON"))


@command("stacks:create")
@click.argument("name")
def stacks_create(name: str) -> Answer:
    """Build a stack on this machine, or find it built."""
    with output.Progress(f"Creating stack {quoted(name)}") as progress:
        made = run_stream(progress, client().stream("POST", "/stacks", {"name": name}))
    yield made


@command("stacks:apps")
def stacks_apps() -> Answer:
    """List on which stack apps stand, and which of them still run on an older one."""
    found = client().get("/stacks/apps")["apps"]
    yield found
    rows = [
        [item["name"], item["stack"], f"v{item['release']}", "current" if item["current"] else "older"]
        for item in found
    ]
    output.listing("Apps on stacks", rows, ("NAME", "STACK", "RELEASE", "STATE"))


@command("stacks:update")
@click.argument("name")
@click.option(
    "--rebase-only", is_flag=True, help="Build no stack; rebase the apps that are not on the newest."
)
def stacks_update(name: str, rebase_only: bool) -> Answer:
    """Build a stack anew, with Debian's updates, and put the apps on it that need no build for that."""
    with output.Progress(f"Updating stack {quoted(name)}") as progress:
        messages = client().stream("POST", f"/stacks/{part(name)}/update", {"build": not rebase_only})
        done = run_stream(progress, messages)
        progress.done(f"done, made {done['created'][:10]}")
    yield done
    rows = [
        [item["app"], f"v{item['release']}" if item["release"] else "stays", item["reason"]]
        for item in done["apps"]
    ]
    output.listing("Rebased", rows, ("NAME", "RELEASE", "REASON"))
