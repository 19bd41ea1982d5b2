"""Deploy what is not pushed."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_path, client, command, run_stream
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.text import quoted


@command("deploy")
@click.option(
    "--archive", metavar="FILE|-", help="A .tar, .tar.gz, .tar.bz2, .tar.xz or .zip; - is standard input."
)
@about_app
def deploy(app: str, archive: str | None) -> Answer:
    """Build and deploy an archive, as a push of its files would be.

    If everything in it lies in one folder, as in the archives of forges, that folder is the app.
    """
    if archive is None:
        raise BadInput(
            "Nothing says what to deploy.",
            "A commit: git push paas main\nAn archive: paas deploy --archive FILE",
        )
    with ExitStack() as held, output.Progress(f"Deploying {quoted(archive)} to {app}") as progress:
        file, name = held.enter_context(_opened(archive)), "" if archive == "-" else Path(archive).name
        messages = client().upload(app_path(app, "deploy", "archive"), file, name=name or "standard input")
        result = run_stream(progress, messages)
        progress.done(f"done, v{result['release']}")
    yield result


def _opened(archive: str) -> BinaryIO:
    if archive == "-":
        return sys.stdin.buffer
    if output.over_ssh():
        raise BadInput(
            "Over ssh an archive is read from standard input.",
            "ssh paas@HOST deploy --archive - -a APP < FILE",
        )
    try:
        return Path(archive).open("rb")
    except OSError as error:
        raise NotFound(f"{quoted(archive)} cannot be read: {error.strerror}.") from error
