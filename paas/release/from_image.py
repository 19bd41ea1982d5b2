"""A release of an image from elsewhere: pulled into the store, made the app's own, and deployed like what a push built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from paas.build.platform import Platform
from paas.build.pull import Pull, Source, stored_image
from paas.manifest.appjson import AppManifest
from paas.nouns.errors import RegistryRefused
from paas.nouns.model import App, Image, Release
from paas.nouns.text import WARNING
from paas.nouns.units import shown_size
from paas.release.change import Push
from paas.release.deployment import Cancel, deploy
from paas.release.pipeline import storage_failures
from paas.release.portable import image_errors
from paas.release.postdeploy import run_script, scripts_of
from paas.store import releases
from runtime.image.errors import Damaged


@dataclass(frozen=True)
class Taken:
    """An image that is the app's now. `reference` is what people called it, `digest` its manifest's where it came from."""

    reference: str
    digest: str
    image: Image


def take_image(
    platform: Platform,
    app: App,
    source: Source,
    reference: str,
    tag: str,
    line: Callable[[str], None],
    cancelled: Cancel,
) -> Taken:
    """Pull the image that `source` calls `tag`; `line` hears what it is. Raises PaasError."""
    line(f"-----> Pulling {reference}")
    with storage_failures(), image_errors():
        try:
            pulled = Pull(platform, app, source, lambda text: line(f"       {text}"), cancelled).run(tag)
        except Damaged as error:
            raise RegistryRefused(f"The image is damaged: {error}.", "Pull it again.") from None
        image, found = stored_image(platform, app, pulled)
    line(f"-----> Image {image.digest[:15]}… : {len(image.layers)} layers, {shown_size(image.size_bytes)}")
    for text in _described(image):
        line(f"       {text}")
    for warning in found.warnings:
        line(WARNING + warning)
    return Taken(reference, pulled.digest, image)


def deploy_image(
    platform: Platform, app: App, taken: Taken, actor: str, line: Callable[[str], None], cancelled: Cancel
) -> Release:
    """Make a release of it, see it serve, and run what its app.json wants then. Raises PaasError; the image stays."""
    with platform.store.read() as tx:
        serving = releases.serving(tx, app)
    change = Push(actor=actor, description=f"Deploy image {taken.reference}", image_digest=taken.image.digest)
    release = deploy(platform, app.id, change, line, wait_s=0.0, cancelled=cancelled)
    first = serving is None or serving.image_digest is None
    for script in scripts_of(AppManifest.from_json(taken.image.manifest).scripts, first=first):
        run_script(platform, app, release.number, script, actor=actor, line=line)
    return release


def _described(image: Image) -> Iterator[str]:
    for type, command in image.processes.items():
        yield f"{type} runs: {command}"
    if startup := image.startup:
        root = " (root, without its rights)" if startup.user == 0 else ""
        yield f"User {startup.user}{root}, folder {startup.cwd}, PORT={startup.port}"
