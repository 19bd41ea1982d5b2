"""One-off commands in a container of the app."""

from __future__ import annotations

import os
import sys

import click

from paas.cli import output
from paas.cli.attach import Attachment, terminal_size
from paas.cli.base import app_option, app_path, client, printing_command
from paas.cli.client import part
from paas.cli.config import parse_pairs
from paas.nouns.text import quoted


@printing_command("run", context_settings={"allow_interspersed_args": False})
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@app_option
@click.option("-d", "--detach", is_flag=True, help="Do not wait; the output goes to the log.")
@click.option("-e", "--env", metavar="NAME=VALUE", multiple=True, help="Set a variable for this run.")
@click.option("--no-tty", is_flag=True, help="No terminal, even if there is one.")
def run(
    words: tuple[str, ...], app: str, detach: bool, env: tuple[str, ...], no_tty: bool, as_json: bool
) -> int:
    """Run a command, or a process type by its name, in a new container of the serving release.

    Ends with the command's own exit status. Options of paas go before the command.
    """
    if as_json and not detach:
        click.get_current_context().fail("--json goes with --detach: else the output is the command's own.")
    api = client()
    terminal = not (detach or no_tty) and sys.stdin.isatty() and sys.stdout.isatty()
    body: dict[str, object] = {"command": list(words), "detach": detach, "env": parse_pairs(env)}
    if terminal:
        rows, columns = terminal_size()
        body["terminal"] = {"rows": rows, "columns": columns, "term": os.environ.get("TERM") or "dumb"}
    shown = quoted(" ".join(words))
    if detach:
        with output.Progress(f"Running {shown} on {app}") as progress:
            begun = api.post(app_path(app, "runs"), body)
            name = begun["name"]
            progress.done(f"done, {name}")
        output.note(f"Its output: paas logs -d {name} -a {app}")
        if as_json:
            output.print_json(begun)
        else:
            output.result(name)
        return 0
    if terminal:
        output.note(f"Running {shown} on {app}...")
    started = api.post(app_path(app, "runs"), body)
    sys.stdout.flush()
    sock, first = api.upgrade(f"/apps/{part(app)}/runs/{part(started['instance'])}/attach")
    with sock:
        return Attachment(sock, first, terminal=terminal).run()
