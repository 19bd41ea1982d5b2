"""What a build named itself: process types, labels, defaults of the environment and services; a small file of its layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from buildpacks import classic
from paas.build.layerfiles import read_files
from paas.manifest.procfile import parse_procfile
from paas.nouns.errors import BadInput, BuildFailed
from paas.nouns.names import RESERVED_CONFIG, ConfigName, check_config
from paas.nouns.text import WARNING, quoted
from runtime.image.errors import ImageError

_OURS = "paas."
_MOST_LABELS, _MOST_ADDONS = 100, 5


@dataclass(frozen=True)
class Released:
    """`env` are defaults: config vars stand above them. `lines` tell of what is set, and what is not."""

    processes: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def released_in(images: Path, digest: str, path: str) -> Released:
    """What the file `path` in the layer `digest` says, whose tar is in `images`. Raises BuildFailed if what it names is no
    list of processes, or too much."""
    if not digest:
        return Released()
    try:
        with open(images / "blobs" / "sha256" / digest.removeprefix("sha256:"), "rb") as tar:
            release = read_files([tar.fileno()], [path]).get(path, "")
        processes = parse_procfile(classic.procfile_of(release).encode())
        given = classic.config_vars_of(release)
        env = {name: text for name, text in given.items() if _settable(name)}
        check_config(env)
    except (ImageError, BadInput) as error:
        hint = error.hint if isinstance(error, BadInput) else ""
        raise BuildFailed(
            f"The processes that the buildpack names: {error}", hint, cause="cannot be built"
        ) from None
    pairs = (line.partition(": ") for line in classic.section(release, "labels"))
    labels = {name: text for name, colon, text in pairs if colon and name and not name.startswith(_OURS)}
    left = [quoted(name) for name in given if name not in env][:_MOST_ADDONS]
    lines = [f"       Defaults of the environment -> {', '.join(env)}"] if env else []
    if left:
        lines.append(f"{WARNING}bin/release sets {', '.join(left)}, which the platform sets itself")
    if addons := [quoted(name) for name in classic.addons_of(release)][:_MOST_ADDONS]:
        said = f"{WARNING}bin/release asks for services, which this platform does not run yet"
        lines.append(f"{said}: {', '.join(addons)}; name their addresses: paas config:set NAME=ADDRESS")
    return Released(processes, dict(list(labels.items())[:_MOST_LABELS]), env, tuple(lines))


def _settable(name: str) -> bool:
    return ConfigName.pattern.fullmatch(name) is not None and name not in RESERVED_CONFIG
