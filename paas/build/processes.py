"""Process types and labels that a build named itself: a small file of the layer it made."""

from __future__ import annotations

from pathlib import Path

from buildpacks import classic
from paas.build.layerfiles import read_files
from paas.manifest.procfile import parse_procfile
from paas.nouns.errors import BadInput, BuildFailed
from runtime.image.errors import ImageError

_OURS = "paas."
_MOST_LABELS = 100


def released_in(images: Path, digest: str, path: str) -> tuple[dict[str, str], dict[str, str]]:
    """The processes and the labels that the file `path` in the layer `digest` names, whose tar is in `images`. Raises
    BuildFailed if that is no list of processes."""
    if not digest:
        return {}, {}
    try:
        with open(images / "blobs" / "sha256" / digest.removeprefix("sha256:"), "rb") as tar:
            release = read_files([tar.fileno()], [path]).get(path, "")
        processes = parse_procfile(classic.procfile_of(release).encode())
    except (ImageError, BadInput) as error:
        hint = error.hint if isinstance(error, BadInput) else ""
        raise BuildFailed(
            f"The processes that the buildpack names: {error}", hint, cause="cannot be built"
        ) from None
    pairs = (line.partition(": ") for line in classic.section(release, "labels"))
    labels = {name: text for name, colon, text in pairs if colon and name and not name.startswith(_OURS)}
    return processes, dict(list(labels.items())[:_MOST_LABELS])
