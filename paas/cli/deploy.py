"""Deploy what is not pushed."""

from __future__ import annotations

from contextlib import ExitStack

import click

from paas.cli import output
from paas.cli.base import Answer, about_app, app_path, client, command, run_stream
from paas.cli.images import login, login_options, taking
from paas.cli.inputs import open_file
from paas.nouns.errors import BadInput
from paas.nouns.remoteurl import RemoteRepository
from paas.nouns.text import quoted


@command("deploy")
@click.option(
    "--archive", metavar="FILE|-", help="A .tar, .tar.gz, .tar.bz2, .tar.xz or .zip; - is standard input."
)
@click.option("--from-git", "url", metavar="URL[#REF]", help="A repository, and its branch, tag or commit.")
@click.option(
    "--image", metavar="REF",
    help="An image that was built elsewhere: HOST/REPOSITORY:TAG, docker-archive:FILE, oci-archive:FILE, or - for an archive on standard input.",
)  # fmt: skip
@login_options
@about_app
def deploy(
    app: str,
    archive: str | None,
    url: str | None,
    image: str | None,
    username: str | None,
    password_stdin: bool,
) -> Answer:
    """Build and deploy an archive, or a commit of a repository elsewhere, as a push of its files would be; or deploy an image.

    If everything in an archive lies in one folder, as in the archives of forges, that folder is the app.
    """
    if sum(source is not None for source in (archive, url, image)) > 1:
        click.get_current_context().fail("--archive, --from-git and --image are sources; a release has one.")
    what = quoted(archive or image or "") if url is None else str(RemoteRepository.parse(url))
    if not what:
        raise BadInput(
            "Nothing says what to deploy.",
            "A commit: git push paas main\nAn archive: paas deploy --archive FILE\n"
            "An image: paas deploy --image HOST/REPOSITORY:TAG",
        )
    given = login(username, password_stdin)
    with ExitStack() as held, output.Progress(f"Deploying {what} to {app}") as progress:
        if url is not None:
            messages = client().stream("POST", app_path(app, "deploy", "git"), {"url": url})
        elif image is not None:
            messages = taking(app, image, given, held, deploy=True)
        else:
            file, name = open_file(archive or "", held, "ssh paas@HOST deploy --archive - -a APP < FILE")
            messages = client().upload(app_path(app, "deploy", "archive"), file, name=name)
        result = run_stream(progress, messages)
        progress.done(f"done, v{result['release']}")
    yield result
