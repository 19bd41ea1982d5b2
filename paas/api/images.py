"""Images: pulled from a registry and pushed to one, exported, and told of.

The registry is one that the caller names, so the api speaks to the internet only, and to the networks that the operator
names (`private_registries`). Credentials live as long as the request; they are in no row, no event and no log line.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import RESERVE_BYTES, body, boolean, query, received, text
from paas.api.context import Context, context
from paas.api.git import Gone
from paas.api.streams import Cancelled, Emit, lasting, stream
from paas.build.cyclonedx import bill
from paas.build.expand import expanded
from paas.build.inventory import read_packages
from paas.daemon.turns import Turns
from paas.nouns import errors
from paas.nouns.model import Release
from paas.nouns.names import release_number
from paas.nouns.text import one_line, quoted
from paas.release.portable import created_at, image_errors, labelled, released_image
from runtime.image.distribution import Reference, mirrored, parse_reference
from runtime.image.imagearchive import ImageArchive
from runtime.image.packed import KINDS
from runtime.image.portable import Pushed, archive, push
from runtime.image.reach import Patience, Reach
from runtime.image.registry import Login, Registry

if TYPE_CHECKING:
    from paas.release.from_image import Taken

routes = Blueprint("images", __name__)

TRANSFER_S = 3600.0
_transfers = Turns(8, 2, "Other images are being pushed or read")
"""Each is counted until its work ends, even if its client has hung up."""


@routes.post("/v1/apps/<app_name>/image/push")
@needs(Access.APP)
def push_image(app_name: str) -> Response:
    """Push the image of a release. Hanging up ends it; what the registry has by then it keeps."""
    ctx, app, who = context(), the_app(), principal().name
    given = body(
        required={"reference": text},
        optional={
            "release": release_number,
            "username": text,
            "password": text,
            "mount_from": text,
            "compression": text,
        },
    )
    kind = _compression(given["compression"])
    with image_errors():
        reference = parse_reference(given["reference"])
        mount_from = (
            given["mount_from"] and parse_reference(f"{reference.registry}/{given['mount_from']}").repository
        )
    if reference.digest:
        raise errors.BadInput("An image is pushed under a tag, not a digest.", "For example: :v7 at the end.")
    found = released_image(ctx, app, given["release"])

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        with _transfers.one(app.owner_id), image_errors():
            done = push(
                labelled(ctx, found),
                _registry(ctx, reference, _login(given), cancelled),
                reference.tag,
                compression=kind,
                mount_from=mount_from or "",
                say=emit,
                cancelled=cancelled,
            )
        ctx.log(app.id, f"Image of v{found.release.number} pushed to {reference} by {who}")
        return {"reference": str(reference), "release": found.release.number, **_pushed_json(done)}

    return stream(work)


def _compression(word: str | None) -> str:
    """Raises BadInput."""
    kind = word or "gzip"
    if kind not in KINDS:
        raise errors.BadInput(
            f"{quoted(kind)} is no compression of layers.", f"There are {', '.join(KINDS)}."
        )
    return kind


def _pushed_json(done: Pushed) -> dict[str, Any]:
    layers = {"sent": done.sent, "there": done.there, "mounted": done.mounted}
    return {"digest": done.digest, "layers": layers, "sent_bytes": done.sent_bytes}


@routes.post("/v1/apps/<app_name>/image/pull")
@needs(Access.APP)
def pull_image(app_name: str) -> Response:
    """Take an image from a registry, and deploy it if asked to. Hanging up ends the transfer."""
    from paas.release.from_image import deploy_image, take_image

    ctx, app, who = context(), the_app(), principal().name
    given = body(
        required={"reference": text, "deploy": boolean}, optional={"username": text, "password": text}
    )
    with image_errors():
        reference = mirrored(parse_reference(given["reference"]), ctx.settings.docker_hub_mirror)

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        gone = Gone(ctx, app, cancelled)
        with _transfers.one(app.owner_id):
            registry = _registry(ctx, reference, _login(given), gone)
            taken = take_image(ctx, app, registry, str(reference), reference.name, emit, gone)
        ctx.log(app.id, f"Image {reference} pulled by {who}")
        release = deploy_image(ctx, app, taken, who, emit, gone) if given["deploy"] else None
        return _taken_json(taken, release)

    return stream(work)


@routes.post("/v1/apps/<app_name>/image/archive")
@needs(Access.APP)
def take_archive(app_name: str) -> Response:
    """As `image/pull`, from an OCI or Docker archive that is the body; `name` is what the release calls it, `tag` chooses one
    image of several. Hanging up ends it."""
    from paas.build.pull import MOST_BYTES
    from paas.release.from_image import deploy_image, take_image
    from paas.release.origin import RECEIVING

    ctx, app, who = context(), the_app(), principal().name
    given = query({"name": text, "tag": text, "deploy": boolean})
    name = quoted(one_line(given["name"] or "an archive"), 100)
    with RECEIVING.one(app.owner_id):
        file = received(ctx.layout.sources, MOST_BYTES)

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        gone = Gone(ctx, app, cancelled)
        with closing(file), _transfers.one(app.owner_id), image_errors():
            bounds = {"most": MOST_BYTES, "reserve": RESERVE_BYTES}
            with closing(expanded(file, ctx.layout.sources, **bounds)) as tar:
                taken = take_image(ctx, app, ImageArchive(tar), name, given["tag"] or "", emit, gone)
        ctx.log(app.id, f"Image {name} taken by {who}")
        release = deploy_image(ctx, app, taken, who, emit, gone) if given["deploy"] else None
        return _taken_json(taken, release)

    return stream(work)


def _taken_json(taken: Taken, release: Release | None) -> dict[str, Any]:
    return {
        "reference": taken.reference,
        "digest": taken.digest,
        "image": taken.image.digest,
        "release": release.number if release else None,
    }


def _registry(ctx: Context, reference: Reference, login: Login | None, cancelled: Cancelled) -> Registry:
    return Registry(
        reference,
        reach=Reach(ctx.settings.private_registries),
        patience=Patience(time.monotonic() + TRANSFER_S, cancelled),
        login=login,
    )


def _login(given: Mapping[str, Any]) -> Login | None:
    return Login(given["username"], given["password"] or "") if given["username"] else None


@routes.get("/v1/apps/<app_name>/image/history")
@needs(Access.APP)
def history(app_name: str) -> dict[str, Any]:
    app = the_app()
    found = released_image(context(), app, query({"release": release_number})["release"])
    with image_errors():
        stored = found.store.read(found.image.digest)
        layers = [(digest, found.store.size(digest), by) for digest, by in stored.made_by().items()]
    return {
        "release": found.release.number,
        "digest": stored.digest,
        "size_bytes": stored.size_bytes,
        "layers": [{"digest": digest, "size_bytes": size, "made_by": by} for digest, size, by in layers],
    }


@routes.get("/v1/apps/<app_name>/image/export")
@needs(Access.APP)
def export(app_name: str) -> Response:
    """The image as a tar that skopeo, podman and docker read. Its length is known before the first byte."""
    ctx, app = context(), the_app()
    found = released_image(ctx, app, query({"release": release_number})["release"])

    def archived() -> Response:
        with image_errors():
            size, pieces = archive(labelled(ctx, found), found.name)
        return Response(pieces, mimetype="application/x-tar", headers={"Content-Length": str(size)})

    return lasting(archived)


@routes.get("/v1/apps/<app_name>/image/sbom")
@needs(Access.APP)
def sbom(app_name: str) -> dict[str, Any]:
    """What is installed in the image, as CycloneDX."""
    app = the_app()
    found = released_image(context(), app, query({"release": release_number})["release"])
    with _transfers.one(app.owner_id), image_errors(), ExitStack() as stack:
        stored = found.store.read(found.image.digest)
        files = [stack.enter_context(found.store.open(digest)) for digest in stored.layers]
        packages = read_packages([file.fileno() for file in files])
    return bill(
        packages,
        name=app.name,
        version=f"v{found.release.number}",
        digest=found.image.digest,
        created=created_at(found.release),
        layers=stored.made_by(),
    )
