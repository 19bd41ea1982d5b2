"""Images: pulled from a registry and pushed to one, exported to a file, and shown."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from paas.cli import output
from paas.cli.base import (
    Answer,
    about_app,
    app_option,
    app_path,
    client,
    command,
    printing_command,
    run_stream,
)
from paas.cli.inputs import open_file, read_line
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.names import release_number
from paas.nouns.text import quoted
from runtime.kernel.files import STAGED

ARCHIVES = ("oci-archive", "docker-archive")
_ELSEWHERE = {
    "docker-daemon": "docker save {} | paas deploy --image - -a {}",
    "containers-storage": "podman save {} | paas deploy --image - -a {}",
}
"""What skopeo reads where the platform cannot look, with a command that brings it."""
_release = click.option("--release", metavar="vN", help="A release's image, by default the serving one's.")


def login_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options `--username` and `--password-stdin`, for `login`."""
    name = click.option("--username", metavar="NAME", help="Log in to the registry. The name is not kept.")
    secret = click.option(
        "--password-stdin", is_flag=True, help="Read its password from standard input; it is not kept."
    )
    return name(secret(function))


def login(username: str | None, password_stdin: bool) -> dict[str, str | None]:
    """What a request to a registry carries of them."""
    if bool(username) != password_stdin:
        click.get_current_context().fail("--username NAME and --password-stdin go together.")
    if not username:
        return {}
    return {"username": username, "password": read_line("The password").rstrip("\r\n")}


@command("image:push")
@click.argument("reference", metavar="REF")
@app_option
@_release
@login_options
@click.option("--mount-from", metavar="REPOSITORY", help="Take layers over from there, in the same registry.")
@click.option(
    "--compression",
    type=click.Choice(["gzip", "zstd"]),
    help="Of the layers; else gzip, which all clients read.",
)
def image_push(
    reference: str,
    app: str,
    release: str | None,
    username: str | None,
    password_stdin: bool,
    mount_from: str | None,
    compression: str | None,
) -> Answer:
    """Push an image to a registry: HOST/REPOSITORY:TAG. Only what the registry does not have is sent."""
    body = {
        "reference": reference,
        "release": _number(release),
        "mount_from": mount_from,
        "compression": compression,
    }
    body |= login(username, password_stdin)
    with output.Progress(f"Pushing {app} to {quoted(reference)}") as progress:
        given = {key: value for key, value in body.items() if value is not None}
        done = run_stream(progress, client().stream("POST", app_path(app, "image", "push"), given))
        layers = done["layers"]
        kept = f"{layers['there'] + layers['mounted']} there already"
        progress.done(f"done, {layers['sent']} layers sent ({output.size(done['sent_bytes'])}), {kept}")
    yield done
    output.result(f"{done['reference']}@{done['digest']}")


def taking(
    app: str, reference: str, given: dict[str, str | None], held: ExitStack, *, deploy: bool
) -> Iterator[dict[str, Any]]:
    """Ask for an image: of a registry, or of the archive that `oci-archive:FILE`, `docker-archive:FILE` or `-` names."""
    kind, _, rest = reference.partition(":") if reference != "-" else ("oci-archive", "", "-")
    if kind in _ELSEWHERE:
        raise BadInput(
            f"{quoted(reference)} is an image on your machine, which the platform cannot read.",
            _ELSEWHERE[kind].format(shlex.quote(rest), app),
        )
    if kind not in ARCHIVES:
        reference = reference.removeprefix("docker://")
        body = {"reference": reference, "deploy": deploy, **given}
        return client().stream("POST", app_path(app, "image", "pull"), body)
    path, _, tag = rest.partition(":")
    file, name = open_file(path, held, "ssh paas@HOST deploy --image - -a APP < FILE")
    query = {"name": name, "tag": tag or None, "deploy": deploy}
    return client().upload(app_path(app, "image", "archive"), file, **query)


@command("image:pull")
@click.argument("reference", metavar="REF")
@app_option
@login_options
def image_pull(reference: str, app: str, username: str | None, password_stdin: bool) -> Answer:
    """Take an image without deploying it; prints its digest here. REF is as in deploy --image."""
    given = login(username, password_stdin)
    with ExitStack() as held, output.Progress(f"Pulling {quoted(reference)} for {app}") as progress:
        done = run_stream(progress, taking(app, reference, given, held, deploy=False))
        progress.done("done")
    yield done
    output.result(done["image"])


def _number(release: str | None) -> str | None:
    return f"v{release_number(release)}" if release else None


@command("image:history")
@about_app
@_release
def image_history(app: str, release: str | None) -> Answer:
    """List the layers of an image, lowest first, with what made them."""
    found = client().get(app_path(app, "image", "history"), release=_number(release))
    yield found
    output.heading(f"{app} v{found['release']} Image {found['digest']} ({output.size(found['size_bytes'])})")
    rows = [
        [layer["digest"][:19], output.size(layer["size_bytes"]), layer["made_by"]]
        for layer in found["layers"]
    ]
    output.table(rows, head=("LAYER", "SIZE", "MADE BY"))


@printing_command("image:export")
@click.argument("file", metavar="FILE|-")
@app_option
@_release
def image_export(file: str, app: str, release: str | None, as_json: bool) -> None:
    """Write an image to a file that skopeo, podman and docker read, or to standard output.

    It is an OCI archive, and `docker load` reads it, too.
    """
    path, query = app_path(app, "image", "export"), {"release": _number(release)}
    if file == "-":
        if as_json:
            click.get_current_context().fail("--json goes with a file: else the image is the output.")
        if sys.stdout.isatty():
            raise BadInput(
                "An image is no text for a terminal.", "Name a file, or send it on: paas image:export - | …"
            )
        client().download(path, sys.stdout.buffer.write, **query)
        return
    if output.over_ssh():
        raise BadInput(
            "Over ssh an image goes to standard output.", "ssh paas@HOST image:export - -a APP > FILE"
        )
    target = Path(file)
    fresh = target.with_name(f"{STAGED}{target.name}")
    with output.Progress(f"Exporting {app} to {quoted(file)}") as progress:
        try:
            with fresh.open("wb") as opened:
                size = client().download(path, opened.write, **query)
            fresh.rename(target)
        except OSError as error:
            raise NotFound(f"{quoted(file)} cannot be written: {error.strerror}.") from error
        finally:
            fresh.unlink(missing_ok=True)
        progress.done(f"done, {output.size(size)}")
    if as_json:
        output.print_json({"file": file, "size_bytes": size})


@command("image:sbom")
@about_app
@_release
def image_sbom(app: str, release: str | None) -> Answer:
    """List what is installed in an image; with --json as a bill of materials in the CycloneDX format."""
    found = client().get(app_path(app, "image", "sbom"), release=_number(release))
    yield found
    rows = [
        [item["name"], item["version"], item.get("purl", "pkg:os/").partition(":")[2].partition("/")[0]]
        for item in found["components"]
    ]
    title = f"{app} {found['metadata']['component']['version']} Packages"
    output.listing(title, rows, ("NAME", "VERSION", "KIND"))
