"""What a buildpack says: a plan of layers, described and never executed. Pure.

A `Tree` is what a push brought (names and small files, read on demand); a `Plan` is what to make of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from buildpacks.failurehint import FailureHint


class Tree(Protocol):
    """A read-only view of the pushed files. Paths are relative, `/`-separated, never normalised away."""

    def names(self) -> Iterable[str]:
        """Every regular file's path."""
        ...

    def links(self) -> Iterable[str]:
        """Every symbolic link's path."""
        ...

    def exists(self, path: str) -> bool: ...

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """A regular file's bytes. Raises FileNotFoundError, or ValueError when larger than `limit`."""
        ...


TOOLS = "/.paas"
"""Where bare steps have their programs (`bin`), the libraries of these and the loader; no such folder gets into an image."""
WORK = TOOLS + "/work"
FROM = "from "
REGISTRIES = "registries"


def quoted(text: str, most: int = 60) -> str:
    """At most `most` characters of a tenant's word inside a sentence: each control character is a question mark."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 1] + "…"


class BuildRefused(Exception):
    """The tree cannot be built as it is: the reason, and a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Step:
    """One layer to make: run `script` with `bash -e` in /app of a build instance and keep `outputs`.

    `key` holds every input that decides the result (versions, names of recipes); the builder adds the bytes of
    `inputs`, the script, `env` and the digests of the layers below. `inputs` are the only source files the step
    sees, unless `source` asks for the whole tree (then the tree id becomes part of the key). Config vars are
    given when `config` is true (then their digest becomes part of the key).
    """

    name: str
    title: str
    script: str
    outputs: tuple[str, ...]
    key: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    written: tuple[tuple[str, str], ...] = ()
    """Files that the plan itself gives the step, as path and text."""
    source: bool = False
    config: bool = False
    after_source: bool = False
    env: dict[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    """What the builder brings: `uv`, or the settings of `apt`; a bare step gets those of the `registries` only when it asks."""
    failure_hints: tuple[FailureHint, ...] = ()
    """What its output may say when it fails: the first that matches names the failure."""
    onto: tuple[str, ...] = ()
    """Names of earlier steps whose layers lie below this one, lowest first."""
    root: bool = False
    """The script runs as root in its container, to install packages or add users. It does not see the app's cache,
    because its files there would belong to root."""
    shared: bool = False
    """Only digest-pinned inputs decide the result: the layer is shared by all apps, and made without the app's
    cache, which another build could have written."""
    base: str = "build"
    """What lies below `onto`: the stack's layers for a `build`, or those that apps `run` on, for what must be right without
    the compilers, too; nothing (empty); or, after FROM, the name of a stack or an image."""
    apart: tuple[str, ...] = ()
    """Folders that become a layer of their own, below that of the outputs: one that comes out as before is the same layer."""
    images: tuple[str, ...] = ()
    """Pulled images. The step runs on top of their layers, lowest first."""
    bare: bool = False
    """Over whatever `base` and `onto` are, by the programs of the layer TOOLS, with nothing of the platform's own in sight:
    no /app, /tmp is kept. The inputs lie at WORK, links among them, and the script begins at `/`."""
    without: tuple[str, ...] = ()
    """What is left out of `outputs`."""
    secrets: tuple[str, ...] = ()
    """Config vars that lie as files in WORK/secrets; they never count for the key."""
    caches: tuple[tuple[str, str], ...] = ()
    """Folders that the app's builds keep, as name and place."""
    in_image: bool = True
    serves: str = ""
    """The process type whose default command needs this step; a Procfile that declares the type drops the step, unless its
    command names the program that the step `brings`."""
    brings: str = ""
    notices: tuple[FailureHint, ...] = ()
    """What its output may say though it succeeded: the push warns of the first that matches."""
    reused: str = ""
    """What the push says when the layer was there already; nothing when empty."""


@dataclass(frozen=True)
class Plan:
    """What one buildpack makes of a tree. Layers, lowest first: stack, `steps` before the source, the source,
    then `steps` with `after_source`. `env` is the image's; `path` goes before the system's PATH."""

    language: str
    detected: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    stack: str = ""
    """The stack that it needs; empty: any, so that the app's own is taken."""
    default_processes: dict[str, str] = field(default_factory=dict)
    released: str = ""
    """A file of the last step's layer that names further default processes, as `bin/release` of a buildpack does."""
    labels: dict[str, str] = field(default_factory=dict)
    """Of the image, beside the platform's own."""
    packages: tuple[str, ...] = ()
    """Debian packages that the language is made of; they and the app's own become one layer below all steps."""
    build_packages: tuple[str, ...] = ()
    """Those that only steps need; no image has them."""
    base: str = "run"
    """As a step's: what lies below all of the image."""
    source: bool = True
    """Whether the source is a layer of the image."""
    config: dict[str, Any] | None = None
    """`config` of an OCI image configuration, when the image says itself how it starts."""
    wants: tuple[tuple[str, str], ...] = ()
    """Images from elsewhere that have to be there before there is a plan, each with the line that names it."""


def read_text(tree: Tree, path: str, limit: int = 4 << 20) -> str:
    """A source file as text, without its byte order mark. Raises BuildRefused when it is too large, missing, or
    not UTF-8."""
    try:
        data = tree.read(path, limit)
    except FileNotFoundError:
        raise BuildRefused(f"{path} is not in the repository.") from None
    except ValueError:
        raise BuildRefused(f"{path} is larger than {limit >> 10} KiB.") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BuildRefused(f"{path} is UTF-16.", "Save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BuildRefused(f"{path} line {line} is not UTF-8.", "Save it as UTF-8.") from None
