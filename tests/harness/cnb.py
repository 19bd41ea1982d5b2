"""Cloud Native Buildpacks for tests, written in bash as people write them: files by path, for a folder or a repository."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

FILES = "io.buildpacks.buildpackage.metadata"


def buildpack(
    id: str, *, detect: str = "", build: str = "", api: str = "0.10", version: str = "1.0.0", more: str = ""
) -> dict[str, str]:
    """A buildpack whose programs are these lines; `more` goes into its buildpack.toml."""
    return {
        "buildpack.toml": f'api = "{api}"\n[buildpack]\nid = "{id}"\nversion = "{version}"\n{more}',
        "bin/detect": f"#!/usr/bin/env bash\nset -eu\n{detect}\n",
        "bin/build": f"#!/usr/bin/env bash\nset -eu\n{build}\n",
    }


def composite(
    id: str, groups: str, *, api: str = "0.10", dependencies: tuple[str, ...] = ()
) -> dict[str, str]:
    """One that stands for others: `groups` has a group a line, `+` between ids, `?` after an optional one."""
    order = "".join(
        "[[order]]\n"
        + "".join(
            f'[[order.group]]\nid = "{one.rstrip("?")}"\nversion = "1.0.0"\noptional = {str(one.endswith("?")).lower()}\n'
            for one in line.split("+")
        )
        for line in groups.split()
    )
    found = {"buildpack.toml": f'api = "{api}"\n[buildpack]\nid = "{id}"\nversion = "1.0.0"\n{order}'}
    if dependencies:
        found["package.toml"] = "".join(f'[[dependencies]]\nuri = "{uri}"\n' for uri in dependencies)
    return found


def below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{folder}/{path}": text for path, text in files.items()}


def write(root: Path, files: Mapping[str, str]) -> None:
    """What lies below `bin/` becomes executable."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755 if "/bin/" in f"/{path}" else 0o644)


def buildpackage(id: str, packs: Mapping[str, Mapping[str, str]]) -> bytes:
    """A tar of an OCI layout whose one image holds these buildpacks by id, in version 1.0.0, and is the one called `id`."""
    layer = _tar({f"cnb/buildpacks/{name.replace('/', '_')}/1.0.0/{path}": text.encode() for name, files in packs.items() for path, text in files.items()})  # fmt: skip
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {FILES: json.dumps({"id": id, "version": "1.0.0"})}},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    kind = "application/vnd.oci.image"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": _descriptor(f"{kind}.config.v1+json", config),
            "layers": [_descriptor(f"{kind}.layer.v1.tar", layer)],
        }
    ).encode()
    index = {"schemaVersion": 2, "manifests": [_descriptor(f"{kind}.manifest.v1+json", manifest)]}
    blobs = {f"blobs/{_digest(data).replace(':', '/')}": data for data in (layer, config, manifest)}
    top = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
    return _tar({**top, **blobs})


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o755 if "/bin/" in path else 0o644
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()
