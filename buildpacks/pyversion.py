"""Which Python an app gets: what its files ask for, against what stacks have and what uv can fetch. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from buildpacks.plan import BuildRefused, Tree, quoted, read_text
from buildpacks.pyrequires import Required, required_python, satisfies

Release = tuple[int, int, int]
_FILES = (".python-version", "runtime.txt")
_VERSION = re.compile(r"(3)(?:\.(\d{1,3}))?(?:\.(\d{1,3}|\*|x))?|\d+(?:\.\d+)*")


@dataclass(frozen=True)
class Download:
    """A build of CPython that uv can fetch: uv's key, and its entry in the operator's list of downloads, as JSON; no
    entry when it is in the list that uv brings."""

    key: str
    entry: str = ""


@dataclass(frozen=True)
class Pythons:
    """The Pythons that builds can have. `of_stacks` has full releases, the suite's default first."""

    stack: str = "debian-12"
    fixed: bool = False
    """Whether the app chose its stack, so that no other is taken for the sake of its Python."""
    of_stacks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"debian-12": ("3.11.2",)})
    fetched: Mapping[str, Download] = field(default_factory=dict)


STACK_ONLY = Pythons()
"""What there is where nothing else is known: the first stack's own Python."""


@dataclass(frozen=True)
class Python:
    """One Python that can be had: from `stack`, or as a `download`."""

    release: Release
    stack: str = ""
    download: Download | None = None

    @property
    def minor(self) -> str:
        return f"{self.release[0]}.{self.release[1]}"

    @property
    def full(self) -> str:
        return ".".join(map(str, self.release))

    @property
    def interpreter(self) -> str:
        """Its path in a build and in the image."""
        folder = f"/app/.python/{self.download.key}" if self.download else "/usr"
        return f"{folder}/bin/python{self.minor}"


@dataclass(frozen=True)
class Chosen:
    """The Python of an app. `remedies` are what other minors of stacks it could write down, lowest first."""

    python: Python
    note: str
    warnings: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Asked:
    """What .python-version or runtime.txt says; `patch` may be missing."""

    path: str
    text: str
    minor: int | None
    patch: int | None

    def fits(self, release: Release) -> bool:
        return self.minor in (None, release[1])


def choose_python(tree: Tree, pythons: Pythons) -> Chosen:
    """`.python-version` counts before `runtime.txt`, and both before `requires-python`. The app's own stack comes first,
    then the other stacks (unless the app chose its own), then what uv fetches.

    Raises BuildRefused, before anything is installed, when none of them has it; it names those that can be had.
    """
    required, asked = required_python(tree), _asked(tree)
    all_of_them = list(_offers(pythons))
    fitting = [python for python in all_of_them if required is None or satisfies(python.release, required)]
    ignored: tuple[str, ...] = ()
    if not fitting and required is not None and not required.strict:
        ignored = (
            f'{required.where} requires Python "{quoted(required.text, 40)}"; requirements.txt decides',
        )
        required, fitting = None, all_of_them
    found = [python for python in fitting if asked is None or asked.fits(python.release)]
    if not found:
        raise _refused(pythons, asked, required, fitting, all_of_them)
    first = found[0]
    if asked is not None and asked.patch is not None:
        same = [python for python in found if bool(python.stack) == bool(first.stack)]
        first = next((python for python in same if python.release[2] == asked.patch), first)
    remedies = dict.fromkeys(python.minor for python in fitting if python.stack)
    return Chosen(first, _note(first, asked, required, pythons), ignored + _patch_warning(first, asked),
                  tuple(sorted(remedies, key=_number)))  # fmt: skip


def _offers(pythons: Pythons) -> Iterator[Python]:
    """Every Python in the order in which they are taken: of a stack its default first, of the fetched ones the newest."""
    stacks = [pythons.stack] if pythons.fixed else [
        pythons.stack, *(name for name in sorted(pythons.of_stacks) if name != pythons.stack)
    ]  # fmt: skip
    for stack in stacks:
        for text in pythons.of_stacks.get(stack, ()):
            yield Python(_release(text), stack)
    for text in sorted(pythons.fetched, key=_release, reverse=True):
        yield Python(_release(text), download=pythons.fetched[text])


def _release(text: str) -> Release:
    major, minor, patch = map(int, text.split("."))
    return major, minor, patch


def _number(minor: str) -> int:
    return int(minor.partition(".")[2])


def _asked(tree: Tree) -> _Asked | None:
    path = next((path for path in _FILES if tree.exists(path)), None)
    if path is None:
        return None
    lines = [line.strip() for line in read_text(tree, path, 4096).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) != 1:
        raise BuildRefused(
            f"{path} has {len(lines)} version lines.", "Write one version into it, such as 3.11."
        )
    text = lines[0].strip("\"'").lower().removeprefix("cpython-").removeprefix("python-").removeprefix("v")
    match = _VERSION.fullmatch(text)
    if match is None:
        raise BuildRefused(
            f'{path}: "{quoted(lines[0], 40)}" is not a Python version.', "Write one into it, such as 3.11."
        )
    if match[1] is None:
        return _Asked(path, text, -1, None)
    patch = int(match[3]) if (match[3] or "").isdigit() else None
    return _Asked(path, text, None if match[2] is None else int(match[2]), patch)


def _note(python: Python, asked: _Asked | None, required: Required | None, pythons: Pythons) -> str:
    if asked is not None:
        why = f"from {asked.path}"
    elif python.stack == pythons.stack:
        return f"Using Python {python.minor} (the stack's; a .python-version file pins it)"
    else:
        why = f"from {required.where}" if required else "what can be had"
    if python.stack == pythons.stack:
        return f"Using Python {python.minor} ({why})"
    if python.stack:
        return f"Using Python {python.minor} ({why}), which stack {python.stack} has"
    return f"Using Python {python.full} ({why}), fetched by uv"


def _patch_warning(python: Python, asked: _Asked | None) -> tuple[str, ...]:
    if asked is None or asked.patch in (None, python.release[2]):
        return ()
    whose = "the stack's patch release is" if python.stack else "the newest that can be fetched is"
    return (f"{asked.path} asks for Python {asked.text}; {whose} {python.full}",)


def _refused(
    pythons: Pythons,
    asked: _Asked | None,
    required: Required | None,
    fitting: list[Python],
    every: list[Python],
) -> BuildRefused:
    have = "; ".join(_shown(pythons))
    wanted = f'{required.where} requires Python "{quoted(required.text, 40)}"' if required else ""
    if asked is None:
        return BuildRefused(
            f"{wanted}; there are {have}.", f"Widen it, so that it takes in Python {every[0].minor}."
        )
    said = f"{asked.path} asks for Python {asked.text}"
    if any(asked.fits(python.release) for python in every):
        if not fitting:
            return BuildRefused(f"{said}; {wanted}, which nothing here has: there are {have}.",
                                f"Widen it, so that it takes in Python {asked.text}.")  # fmt: skip
        return BuildRefused(
            f"{said}, but {wanted}.",
            f"Write {_nearest(asked, fitting)} into {asked.path}, or remove the file.",
        )
    hint = f"Write {_nearest(asked, fitting or every)} into {asked.path}, or remove the file."
    other = [name for name, texts in sorted(pythons.of_stacks.items()) if any(map(_asks(asked), texts))]
    if other:
        hint = f'Take "stack" out of app.json, or write "stack": "{other[0]}" there.'
    return BuildRefused(f"{said}; there are {have}.", hint)


def _asks(asked: _Asked) -> Callable[[str], bool]:
    return lambda text: asked.fits(_release(text))


def _shown(pythons: Pythons) -> Iterator[str]:
    """What can be had and how, a part for each source."""
    for stack in [pythons.stack] if pythons.fixed else sorted(pythons.of_stacks):
        minors = sorted({Python(_release(text)).minor for text in pythons.of_stacks[stack]}, key=_number)
        yield f"{', '.join(minors)} (stack {stack})"
    minors = sorted({Python(_release(text)).minor for text in pythons.fetched}, key=_number)
    yield f"{', '.join(minors)} (fetched by uv)" if minors else "none that uv could fetch"


def _nearest(asked: _Asked, pythons: list[Python]) -> str:
    """Of the Pythons that stacks have (or any, when none fits) the next newer one, else the newest."""
    some = [python for python in pythons if python.stack] or pythons
    newer = [python for python in some if python.release[1] >= (asked.minor or 0)]
    return (min if newer else max)(newer or some, key=lambda python: python.release).minor
