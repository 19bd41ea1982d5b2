"""`paas help`: the help texts as a command, also for users over ssh without a client."""

from __future__ import annotations

import click

from paas.cli import output
from paas.cli.base import Answer, command


@command("help")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def help_(context: click.Context, name: str | None) -> Answer:
    """Show all commands, or how to use one."""
    from paas.cli.main import UnknownCommand

    parent = context.parent
    assert parent is not None and isinstance(parent.command, click.Group)
    group = parent.command
    if name is None:
        known = {word: group.get_command(parent, word) for word in group.list_commands(parent)}
        yield {word: one.get_short_help_str(200) if one else "" for word, one in known.items()}
        return output.result(parent.get_help())
    found = group.get_command(parent, name)
    if found is None:
        raise UnknownCommand(name)
    text = found.get_help(click.Context(found, info_name=name, parent=parent))
    yield {"command": name, "help": text}
    output.result(text)
