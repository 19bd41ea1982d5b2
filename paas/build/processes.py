"""Process types that a build named itself: a small file of the layer it made."""

from __future__ import annotations

from pathlib import Path

from buildpacks import classic
from paas.build.layerfiles import read_files
from paas.manifest.procfile import parse_procfile
from paas.nouns.errors import BadInput, BuildFailed
from runtime.image.errors import ImageError


def processes_in(images: Path, digest: str, path: str) -> dict[str, str]:
    """What the file `path` in the layer `digest` names, whose tar is in `images`. Raises BuildFailed if that is no list of
    processes."""
    if not digest:
        return {}
    try:
        with open(images / "blobs" / "sha256" / digest.removeprefix("sha256:"), "rb") as tar:
            release = read_files([tar.fileno()], [path]).get(path, "")
        return parse_procfile(classic.procfile_of(release).encode())
    except (ImageError, BadInput) as error:
        hint = error.hint if isinstance(error, BadInput) else ""
        raise BuildFailed(
            f"The processes that bin/release names: {error}", hint, cause="cannot be built"
        ) from None
