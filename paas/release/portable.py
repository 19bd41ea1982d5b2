"""The image of a release on its way out of the platform: which one, and the labels that say where it comes from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from paas.build.platform import Platform
from paas.nouns.errors import BadInput, NotFound, RegistryRefused, Unavailable
from paas.nouns.model import App, Image, Release
from paas.store import images, releases
from runtime.image import errors
from runtime.image.ocilayout import ImageStore
from runtime.image.portable import ANNOTATION, Portable, portable


@dataclass(frozen=True)
class ReleasedImage:
    """A release, its image, and where the blobs are."""

    app: App
    release: Release
    image: Image
    store: ImageStore

    @property
    def name(self) -> str:
        return f"{self.app.name}:v{self.release.number}"


def released_image(platform: Platform, app: App, number: int | None) -> ReleasedImage:
    """The image of release `number`, by default of the one that serves. Raises NotFound with what to do."""
    with platform.store.read() as tx:
        release = releases.get(tx, app.id, number) if number else releases.serving(tx, app)
        image = images.of(tx, release)
    if release is None:
        missing = f"no release v{number}" if number else "no release that serves"
        raise NotFound(f"{app.name} has {missing}.", "See: paas releases" if number else "Push it first.")
    if image is None:
        raise NotFound(
            f"The image of {app.name} v{release.number} is not kept any more, or there never was one.",
            f"Images of the newest {platform.settings.keep_releases} releases are kept. See: paas releases",
        )
    return ReleasedImage(app, release, image, ImageStore(platform.layout.images, platform.layout.stacks))


def created_at(release: Release) -> str:
    """When a release was made, as RFC 3339 writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(release.created_at))


def labelled(platform: Platform, found: ReleasedImage) -> Portable:
    """The image with the labels of image-spec, annotations.md, that are known of it."""
    app, release = found.app, found.release
    created = created_at(release)
    words = {"title": app.name, "version": f"v{release.number}", "created": created}
    words |= {"revision": release.commit} if release.commit else {}
    if platform.settings.domain != "localhost":
        words["source"] = platform.settings.git_url(app.name)
    labels = {f"{ANNOTATION}{name}": value for name, value in words.items()}
    return portable(found.store, found.image.digest, labels, created)


@contextmanager
def image_errors() -> Iterator[None]:
    """The errors of images and registries as the platform's, which people may see."""
    try:
        yield
    except errors.BadReference as error:
        raise BadInput(_sentence(error), "For example registry.example.com/team/hello:v7.") from None
    except errors.RegistryError as error:
        raise RegistryRefused(_sentence(error), _advice(error)) from None
    except (errors.BadArchive, errors.TooLarge) as error:
        raise BadInput(_sentence(error)) from None
    except errors.NotFound as error:
        raise NotFound(
            _sentence(error), "Deploy the app again: the layer was removed with its release."
        ) from None
    except errors.ImageError as error:
        raise Unavailable(_sentence(error), "See: paas doctor") from None


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _advice(error: errors.RegistryError) -> str:
    said = str(error)
    if error.status in (401, 403):
        return "Give a login that may do this: --username NAME --password-stdin"
    if error.status == 404:
        return "Check the reference; some registries want the repository to be made first."
    if "private network" in said or "TLS only" in said:
        return "The platform's operator allows it: private_registries in paas.yml names the network."
    return ""
