"""Cloud Native Buildpacks: how the step of foreign buildpacks runs the phases (`lifecycle`) for them, and what failures mean. Pure."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from buildpacks.dockerbase import Base
from buildpacks.failurehint import FailureHint
from buildpacks.plan import Step

LAYERS, PLATFORM = "/layers", "/var/tmp/platform"
IMAGE = "docker://"
LABEL = "PAAS_BUILDPACKAGE_"
"""The variables in which the phases find what each image's label says of its buildpacks."""
_ABOUT, _MOST_ABOUT = "io.buildpacks.buildpackage.metadata", 64 << 10
FOLDER_STEP = "layers-folder"
_CARRIED, _PROGRAM = ".paas-lifecycle", "/var/tmp/program"

UNPACK = f"mv {_CARRIED} {_PROGRAM}\n"
RUN = f"""  python3 -I -S -B -c 'import runpy, sys; sys.path.insert(0, "{_PROGRAM}")
runpy.run_module("buildpacks.lifecycle", run_name="__main__", alter_sys=True)' "${{packs[@]}}" """
HINTS = (
    FailureHint(
        r"^the buildpack (?P<name>\S+) speaks the Buildpack API (?P<api>.+)$",
        "the buildpack {name} speaks the Buildpack API {api}; 0.8 to 0.12 are understood",
        "Take a release of it that does, or correct `api` in its buildpack.toml.",
    ),
    FailureHint(
        r"^no group of the buildpacks fits: bin/detect refused of (?P<names>.+)$",
        "no group of the buildpacks fits this app: bin/detect refused of {names}",
        "Add the files that they look for, or take them out of the list.",
    ),
    FailureHint(
        r"^no group of the buildpacks fits: (?P<why>.+ (?:before it provides|none requires): (?P<what>.+))$",
        "no group of the buildpacks fits: {why}",
        "Add a buildpack that does so for {what}, in the right place of the list.",
    ),
    FailureHint(
        r"^(?P<what>bin/(?:detect|build) of the buildpack .+ (?:ended with status|was killed by signal) \d+)$",
        "{what}",
        "The lines above are its own.",
    ),
    FailureHint(
        r"^(?P<what>bin/(?:detect|build) of the buildpack .+ cannot be run: .+|the buildpack .+ has no bin/detect that can be run)$",
        "{what}",
        "See whether it is executable, and whether the program in its first line is in the stack.",
    ),
    FailureHint(
        r"^the buildpack (?P<by>.+) wants the buildpack (?P<name>.+), which is missing",
        "the buildpack {by} wants the buildpack {name}, which is missing",
        "Name a buildpackage that holds it, or commit it and name its folder in the package.toml of {by}.",
    ),
    FailureHint(
        r"^(?P<what>(?:buildpack|launch|build|store|[\w.-]+)\.toml of the buildpack .+ (?:is not TOML.*|names no id.*|cannot be read.*))$",
        "{what}",
        "Correct the buildpack.",
    ),
    FailureHint(
        r"^(?P<what>the buildpacks left what cannot be handled: .+|(?:the process .+ of the buildpack|the layer .+ of the buildpack|the build plan of the buildpack) .+)$",
        "{what}",
        "Correct the buildpack.",
    ),
    FailureHint(
        r"^the buildpack (?P<name>.+) is no OCI image with buildpacks$",
        "{name} is no OCI image with buildpacks",
        "Make one with: pack buildpack package",
    ),
)


def folder_step() -> Step:
    """The folder in which the app's user makes layers: one for all apps."""
    return Step(
        name=FOLDER_STEP,
        title="Making the folder of layers",
        script=f"install -d -o 1000 -g 1000 {LAYERS}\n",
        outputs=(LAYERS,),
        key=("layers-1",),
        in_image=False,
        root=True,
        shared=True,
    )


def label(image: Base) -> str:
    """What an image says of the buildpack that it is; empty if it says nothing."""
    text = str(image.more.get("Labels", {}).get(_ABOUT, ""))
    return text if len(text) <= _MOST_ABOUT and "\0" not in text else ""


@lru_cache(maxsize=1)
def program() -> tuple[tuple[str, str], ...]:
    """The files of the phases, as a step carries them to where it runs."""
    found = {"buildpacks/__init__.py": ""}
    for file in files("buildpacks.lifecycle").iterdir():
        if file.name.endswith(".py"):
            found[f"buildpacks/lifecycle/{file.name}"] = file.read_text()
    return tuple((f"{_CARRIED}/{path}", text) for path, text in sorted(found.items()))
