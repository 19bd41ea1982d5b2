"""`paas help`: for those who have no client, and everybody else."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import command


@command("help")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def help_(context: click.Context, name: str | None) -> None:
    """Show all commands, or how to use one."""
    from paas.cli.main import UnknownCommand

    parent = context.parent
    assert parent is not None and isinstance(parent.command, click.Group)
    if name is None:
        return output.result(parent.get_help())
    found = parent.command.get_command(parent, name)
    if found is None:
        raise UnknownCommand(name)
    output.result(found.get_help(click.Context(found, info_name=name, parent=parent)))
