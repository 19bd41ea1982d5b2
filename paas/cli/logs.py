"""Logs: what the app, the platform and the router say, in one stream."""

from __future__ import annotations

import sys

import click

from paas.cli import output
from paas.cli.base import about_app, app_path, client, printing_command
from paas.logs import parts
from paas.nouns.names import release_number
from paas.nouns.text import harmless

SOURCES = ("app", "paas", "router", "api")
_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


@printing_command("logs")
@about_app
@click.option("-t", "--tail", is_flag=True, help="Follow: show lines as they come.")
@click.option(
    "-n", "--num", type=click.IntRange(0, 10_000), default=100, show_default=True, help="How many lines."
)
@click.option("-p", "--ps", "type", metavar="TYPE", help="Only this process type.")
@click.option("-d", "--dyno", metavar="NAME", help="Only this process, as web.1.")
@click.option("-s", "--source", type=click.Choice(SOURCES), help="Only lines from there.")
@click.option("--since", metavar="TIME", help="Not before: 10m, 2h, or 2026-08-04T21:53:15.")
@click.option("--request", metavar="ID", help="Only lines with this request id.")
@click.option("--release", metavar="vN", help="Only processes of this release.")
@click.option("--no-colour", "--no-color", is_flag=True, help="Plain text on a terminal, too.")
def logs(
    app: str, tail: bool, num: int, release: str | None, no_colour: bool, as_json: bool, **filters: str | None
) -> None:
    """Show the newest log lines; -t follows."""
    number, follow = release_number(release) if release else None, True if tail else None
    path = app_path(app, "logs")
    messages = client().stream("GET", path, lines=num, release=number, follow=follow, **filters)
    line = None
    try:
        for message in messages:
            line = message["line"]
            if as_json:
                output.print_json_line(parts(line)._asdict())
            else:
                show(harmless(line), colours=not no_colour)
            if tail:
                sys.stdout.flush()
    except KeyboardInterrupt:
        if not tail:
            raise
    if num and line is None and not tail:
        output.note("No line of the log is like that.")


def show(line: str, *, colours: bool = True) -> None:
    """A line of the log; on a terminal its head has the colour of its process."""
    head, separator, message = line.partition(": ")
    process = head.partition(" ")[2]
    colour = _COLOURS[sum(process.encode()) % len(_COLOURS)] if colours and separator else ""
    output.painted(head + separator, colour, message)
