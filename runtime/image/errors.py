"""What can be wrong with a layer or an image."""

from __future__ import annotations


class ImageError(Exception):
    """Base of this folder's errors; the message is a sentence for people, `code` a stable word for programs."""

    code = "image"


class BadArchive(ImageError):
    """The archive breaks a rule of the format or of the platform; nothing of it was published."""

    code = "bad_archive"


class BadTree(ImageError):
    """The tree that should become a layer holds something that a layer cannot."""

    code = "bad_tree"


class TooLarge(ImageError):
    """A limit on files, bytes or names was reached."""

    code = "too_large"


class NotFound(ImageError):
    """There is no such layer, blob, image or tag."""

    code = "not_found"


class Damaged(ImageError):
    """Stored bytes are not what their digest says."""

    code = "damaged"
