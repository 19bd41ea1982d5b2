"""The second phase: each buildpack of the group makes its layers, over what those before it made; then what is for the image
stays in the folder of layers, and what is for the next build is kept."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildpacks.lifecycle import environment
from buildpacks.lifecycle.descriptor import Buildpack, Refused, ended, read_toml, tables
from buildpacks.lifecycle.detection import Chosen
from buildpacks.lifecycle.layers import Layer, Shelf, read_layers, remove
from buildpacks.lifecycle.processes import Launch
from buildpacks.lifecycle.profile import Launched
from buildpacks.lifecycle.profile import write as write_profile
from buildpacks.lifecycle.tomltext import array


@dataclass
class Surroundings:
    """Where a build is: the app, its layers, what is kept between builds, room for files, the platform's folder, and variables."""

    app: Path
    layers: Path
    kept: Path
    work: Path
    platform: Path
    env: dict[str, str]
    user: Mapping[str, str] = field(default_factory=dict)
    """The config vars, which lie in `platform/env`, too."""

    def of(self, pack: Buildpack, made: Mapping[str, str]) -> dict[str, str]:
        """The environment of a program of the buildpack; `made` is what layers made of it so far."""
        env = dict(made)
        for name, text in {} if pack.clear_env else self.user.items():
            old = env.get(name)
            env[name] = f"{text}:{old}" if old and name in environment.PATHS else text
        return {**env, "CNB_BUILDPACK_DIR": str(pack.folder), "CNB_PLATFORM_DIR": str(self.platform)}


def build(chosen: Chosen, place: Surroundings) -> Launch:
    """Run every `bin/build`; the processes and labels that they declare. Raises Refused."""
    shelf, env, met = Shelf(place.kept, place.layers), dict(place.env), set[str]()
    made: list[tuple[Buildpack, list[Layer]]] = []
    launched = Launch()
    for number, (pack, option) in enumerate(chosen.members):
        shelf.restore(pack)
        plan = place.work / f"plan-{number}.toml"
        plan.write_text(array("entries", chosen.entries(pack, met)))
        folder = place.layers / pack.escaped
        print(pack, flush=True)
        _run(pack, place, env, plan, folder)
        layers = read_layers(folder, pack)
        _drop_others(folder, layers)
        _apply([layer for layer in layers if layer.build and layer.folder.is_dir()], env)
        unmet = tables(read_toml(folder / "build.toml", f"the buildpack {pack}").get("unmet"))
        met |= {name for name in option.provides if name not in [item.get("name") for item in unmet]}
        launched.read(pack, folder)
        made.append((pack, layers))
    for pack, layers in made:
        for layer in layers:
            if layer.launch:
                shelf.complete(pack, layer)
    shelf.keep(made)
    _export(made, place)
    return launched


def _run(pack: Buildpack, place: Surroundings, env: Mapping[str, str], plan: Path, folder: Path) -> None:
    program = pack.folder / "bin/build"
    words = {"CNB_LAYERS_DIR": str(folder), "CNB_BP_PLAN_PATH": str(plan)}
    try:
        status = subprocess.run(
            [program, folder, place.platform, plan],
            env={**place.of(pack, env), **words}, cwd=place.app, stdin=subprocess.DEVNULL, check=False,
        ).returncode  # fmt: skip
    except OSError as error:
        raise Refused(f"bin/build of the buildpack {pack} cannot be run: {error.strerror}") from None
    if status:
        raise Refused(f"bin/build of the buildpack {pack} {ended(status)}")


def _apply(layers: Sequence[Layer], env: dict[str, str]) -> None:
    """What the next `bin/build` sees of these layers of one buildpack."""
    for change in environment.of_folders([str(layer.folder) for layer in layers]):
        change.apply(env)
    for layer in layers:
        for folder in ("env", "env.build"):
            for change in environment.of_files(str(layer.folder / folder)):
                change.apply(env)


def _drop_others(folder: Path, layers: Sequence[Layer]) -> None:
    """Nobody may depend on a layer that is for nothing."""
    names = {layer.folder.name for layer in layers}
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and path.name not in names:
            remove(path)


def _export(made: Sequence[tuple[Buildpack, list[Layer]]], place: Surroundings) -> None:
    """Leave the launch layers alone, and beside them what sets the environment of processes."""
    packs = []
    for pack, layers in made:
        folder = place.layers / pack.escaped
        launched = {layer.folder.name: str(layer.folder) for layer in layers if layer.launch}
        for path in folder.iterdir():
            if path.name not in launched:
                remove(path)
        if launched:
            packs.append(Launched(list(launched.values()), pack.api < (0, 9)))
        else:
            remove(folder)
    write_profile(packs, place.layers, place.app)
