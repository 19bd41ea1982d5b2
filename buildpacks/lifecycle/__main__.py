"""Build the app at /app with buildpacks: `python -m buildpacks.lifecycle SHOWN FOLDER …`, one pair for each, in order.

Runs as the app's user inside a build. The folder is a buildpack, or has an OCI layout; `image:NUMBER` means the image whose
layers lie below this container, and whose label is the variable PAAS_BUILDPACKAGE_NUMBER. The exit status is 1, and the last
line says why, when the app cannot be built.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from buildpacks.lifecycle import package
from buildpacks.lifecycle.building import Surroundings, build
from buildpacks.lifecycle.descriptor import Buildpack, Known, Refused
from buildpacks.lifecycle.detection import FAILS, Detection, Verdict, run_detect
from buildpacks.lifecycle.environment import files, read_value

RELEASE = ".buildpack-release"
IMAGE, LABEL = "image:", "PAAS_BUILDPACKAGE_"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OS_RELEASE = Path("/etc/os-release")


def main(words: list[str], place: Surroundings) -> int:
    known = Known()
    try:
        pairs = zip(words[::2], words[1::2], strict=True)
        packs = [_pack(shown, folder, known) for shown, folder in pairs]
        chosen = Detection(known, lambda pack: _detected(pack, place)).run(packs)
        left_out = [
            pack for pack in packs if not pack.order and pack not in [one for one, _ in chosen.members]
        ]
        for pack in left_out:
            print(f"{pack} is not needed")
        (place.app / RELEASE).write_text(build(chosen, place).written())
    except (Refused, OSError, ValueError, RecursionError) as error:
        print(error if isinstance(error, Refused) else f"the buildpacks left what cannot be handled: {error}")
        return 1
    return 0


def _pack(shown: str, folder: str, known: Known) -> Buildpack:
    if folder.startswith(IMAGE):
        labels = {package.ABOUT: os.environ.get(LABEL + folder.removeprefix(IMAGE), "")}
        return package.named(labels, Path("/"), known, shown)
    if (Path(folder) / "oci-layout").is_file():
        return package.named(package.unpack(Path(folder), shown), Path(folder), known, shown)
    return known.add(Path(folder), shown)


def _detected(pack: Buildpack, place: Surroundings) -> Verdict:
    if not _fits(pack, place.env):
        return Verdict(FAILS)
    for name in ("detect", "build"):
        program = pack.folder / "bin" / name
        if program.is_file() and os.access(pack.folder, os.W_OK) and not os.access(program, os.X_OK):
            program.chmod(0o755)
    return run_detect(pack, place.of(pack, place.env), place.work / pack.escaped / "plan.toml", place.app)


def _fits(pack: Buildpack, env: Mapping[str, str]) -> bool:
    """Whether one of its targets is what apps run on here; without targets it is for any."""
    here = [env.get(f"CNB_TARGET_{name}", "") for name in ("OS", "ARCH", "DISTRO_NAME", "DISTRO_VERSION")]
    for target in pack.targets:
        distros = target.get("distros") or target.get("distributions") or [{}]
        for distro in distros if isinstance(distros, list) else [{}]:
            names = distro if isinstance(distro, dict) else {}
            said = [target.get("os"), target.get("arch"), names.get("name"), names.get("version")]
            if all(not want or want == have for want, have in zip(said, here, strict=True)):
                return True
    if pack.targets:
        print(f"{pack} is made for other systems than {' '.join(here)}")
    elif pack.stacks and not {"*", env["CNB_STACK_ID"]} & set(pack.stacks):
        print(f"{pack} is made for {', '.join(pack.stacks)[:100]}; it may miss something here")
    return not pack.targets


def surroundings() -> Surroundings:
    """Those of a build on this platform."""
    config = Path("/var/tmp/platform")
    user = {os.path.basename(file): read_value(file) for file in files(f"{config}/env")}
    pairs = (line.partition("=") for line in _OS_RELEASE.read_text().splitlines())
    system = {name: text.strip('"') for name, _, text in pairs}
    env = {
        **{name: text for name, text in os.environ.items() if not name.startswith(LABEL)},
        "CNB_STACK_ID": f"{system.get('ID', '')}-{system.get('VERSION_ID', '')}",
        "CNB_TARGET_OS": "linux",
        "CNB_TARGET_ARCH": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "CNB_TARGET_DISTRO_NAME": system.get("ID", ""),
        "CNB_TARGET_DISTRO_VERSION": system.get("VERSION_ID", ""),
        "CNB_APP_DIR": "/app",
        "CNB_EXEC_ENV": "production",
    }
    work = Path("/var/tmp/lifecycle")
    work.mkdir(exist_ok=True)
    return Surroundings(Path("/app"), Path("/layers"), Path("/cache/lifecycle/kept"), work, config, env, user)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], surroundings()))
