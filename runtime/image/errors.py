"""The errors of layers and images."""

from __future__ import annotations


class ImageError(Exception):
    """Base class. The message is a sentence for people, `code` a stable identifier for programs."""

    code = "image"


class BadArchive(ImageError):
    """The archive breaks a rule of the format or of the platform; no layer was published."""

    code = "bad_archive"


class BadTree(ImageError):
    """The tree holds something that a layer cannot."""

    code = "bad_tree"


class TooLarge(ImageError):
    """A limit on files, bytes or names was reached."""

    code = "too_large"


class NotFound(ImageError):
    """There is no such layer, blob, image or tag."""

    code = "not_found"


class Damaged(ImageError):
    """Stored bytes do not match their digest."""

    code = "damaged"


class BadReference(ImageError):
    """The reference of an image breaks a rule."""

    code = "bad_reference"


class RegistryError(ImageError):
    """A registry refused, did not answer, or answered what no registry may. `status` is HTTP's, 0 without an answer."""

    code = "registry"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
