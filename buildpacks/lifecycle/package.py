"""A buildpackage: an OCI image whose layers hold buildpacks at `/cnb/buildpacks/ID/VERSION`, as a folder with an OCI layout."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from buildpacks.lifecycle.descriptor import Buildpack, Entry, Known, Refused

ABOUT = "io.buildpacks.buildpackage.metadata"
"""The label that names the one of its buildpacks that the package is."""
HELD = "cnb/buildpacks"
_MOST_JSON = 4 << 20


def unpack(layout: Path, shown: str) -> dict[str, Any]:
    """Unpack the layers of the first image of the layout into that folder; its labels. Raises Refused."""
    try:
        index = _json(layout / "index.json")
        manifest = _blob(layout, index["manifests"][0])
        if "manifests" in manifest:
            manifest = _blob(layout, manifest["manifests"][0])
        labels = _blob(layout, manifest["config"])["config"]["Labels"]
        layers = [_path(layout, layer) for layer in manifest["layers"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise Refused(f"the buildpack {shown} is no OCI image with buildpacks") from None
    for layer in layers:
        command = ("tar", "--no-same-owner", "--no-same-permissions", "-xf", layer, "-C", layout)
        if subprocess.run(command, check=False).returncode:
            raise Refused(f"the buildpack {shown} is no OCI image with buildpacks")
    return labels if isinstance(labels, dict) else {}


def named(labels: dict[str, Any], root: Path, known: Known, shown: str) -> Buildpack:
    """The buildpack that a package is, after all that it holds below `root` are known. Raises Refused."""
    known.add_all(root / HELD)
    try:
        about = json.loads(labels[ABOUT])
        wanted = Entry(str(about["id"]), str(about["version"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused(f"the buildpack {shown} is no OCI image with buildpacks") from None
    return known.find(wanted, shown)


def _json(path: Path) -> Any:
    with open(path, "rb") as file:
        return json.loads(file.read(_MOST_JSON))


def _path(layout: Path, descriptor: dict[str, Any]) -> Path:
    algorithm, _, name = str(descriptor["digest"]).partition(":")
    if not (algorithm + name).isalnum():
        raise ValueError(name)
    return layout / "blobs" / algorithm / name


def _blob(layout: Path, descriptor: dict[str, Any]) -> Any:
    return _json(_path(layout, descriptor))
