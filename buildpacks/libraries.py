"""Whether what a build compiled finds its libraries where apps run: compilers' packages are not in that stack. Pure."""

from __future__ import annotations

from dataclasses import replace

from buildpacks.aptnames import LIBRARIES
from buildpacks.aptpackages import PUT_IT
from buildpacks.failurehint import FailureHint
from buildpacks.plan import Plan, Step

_INSTALLED = ("dependencies", "server", "gems")
"""The steps that may compile what they install."""
_SCRIPT = r"""/usr/bin/python3 - <<'PYTHON'
import glob, os, subprocess, sys

def compiled():
    # wheels that were made here carry the tag of the machine, those of an index that of a C library
    for wheel in glob.glob("/app/.venv/lib/python3*/site-packages/*.dist-info/WHEEL"):
        info = os.path.dirname(wheel)
        if "-linux_" in open(wheel, errors="replace").read() and os.path.exists(f"{info}/RECORD"):
            for line in open(f"{info}/RECORD", errors="replace"):
                yield os.path.normpath(os.path.join(info, "..", line.partition(",")[0]))
    yield from glob.iglob("/app/node_modules/**/build/Release/*.node", recursive=True)
    yield from glob.iglob("/app/vendor/bundle/ruby/*/extensions/**/*.so", recursive=True)

lacking = {}
for path in compiled():
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
    except OSError:
        continue
    asked = subprocess.run(["ldd", path], capture_output=True, text=True, errors="replace")
    for line in asked.stdout.splitlines():
        name, _, where = line.strip().partition(" => ")
        if where == "not found":
            lacking.setdefault(name, path)
for name, path in lacking.items():
    print(f"{path} needs the library {name}")
sys.exit(1 if lacking else 0)
PYTHON
"""
_LACKS = r"^(?:/app/)?(?P<path>\S+) needs the library (?P<name>\S+)$"
_SAID = "{path} was compiled against {name}, which apps do not have when they run"


def checked(plan: Plan) -> Plan:
    """Add a step that refuses compiled files if the run stack lacks their libraries. It runs once for each set of
    dependencies. Only the loader inside the container reads the files."""
    below = [step for step in plan.steps if step.in_image and not step.after_source]
    if not any(step.name in _INSTALLED for step in below):
        return plan
    step = Step(
        name="libraries",
        title="Looking for the libraries of what was compiled",
        script=_SCRIPT,
        outputs=("/app/.venv",),
        key=("libraries-2",),
        onto=tuple(step.name for step in below),
        base="run",
        shared=all(step.shared for step in below),
        failure_hints=(
            FailureHint(_LACKS, _SAID, PUT_IT, LIBRARIES),
            FailureHint(
                _LACKS, _SAID, "Look up the Debian package that holds it, and write it into an Aptfile."
            ),
        ),
    )
    last = plan.steps.index(below[-1]) + 1
    return replace(plan, steps=(*plan.steps[:last], step, *plan.steps[last:]))
