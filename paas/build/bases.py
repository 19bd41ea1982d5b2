"""The images from elsewhere that a Dockerfile or a list of buildpacks names: from registries, and from archives that lie in the repository.

What they say of themselves is read before there is a plan, their layers only once there is one. A registry is reached as
`paas deploy --image` reaches it; logins are the app's config var DOCKER_AUTH_CONFIG, in the words of Docker's config.json.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from buildpacks.detect import BUILDPACKS
from buildpacks.dockerbase import Base
from buildpacks.plan import FROM, Tree, quoted
from paas.build.output import Output
from paas.build.platform import Platform
from paas.build.pull import Found, Pull, Pulled, Source
from paas.build.source import SourceTree
from paas.build.stack import load_or_make
from paas.nouns.errors import BuildFailed, Cancelled, NotFound
from paas.nouns.model import App
from runtime.image.distribution import DOCKER_HUB, mirrored, parse_reference
from runtime.image.errors import BadReference, ImageError, RegistryError
from runtime.image.imagearchive import ImageArchive
from runtime.image.reach import Patience, Reach
from runtime.image.registry import Login, Registry
from runtime.stack.build import RECIPES, Stack

LOGINS = "DOCKER_AUTH_CONFIG"
_ARCHIVES = ("docker-archive", "oci-archive")
_HUB = ("docker.io", "index.docker.io")


@dataclass
class BaseImages:
    """Those of one build, by the names that its files call them."""

    platform: Platform
    app: App
    tree: SourceTree
    config: Mapping[str, str]
    output: Output
    bases: dict[str, Base] = field(default_factory=dict)
    _found: dict[str, tuple[Pull, Found, str]] = field(default_factory=dict)

    def find(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Ask what each image is, and say its digest. Raises BuildFailed naming the line, Cancelled."""
        self.output.line("-----> Finding the images that are named")
        patience = Patience(time.monotonic() + self.platform.settings.builds_wall_s, self.output.cancelled)
        logins = read_logins(self.config.get(LOGINS, ""))
        for name, place in wanted:
            with self._errors(name, place):
                source, tag = self._source(name, patience, logins)
                pull = Pull(self.platform, self.app, source, self._say, self.output.cancelled)
                found = pull.find(tag)
            self.output.line(f"       {name} is {found.digest}")
            self.bases[name] = Base.read(found.config)
            self._found[name] = (pull, found, place)

    def fetch(self) -> dict[str, Pulled]:
        """Their layers; those that are not here are pulled in the build's turn. Raises BuildFailed, Cancelled, Unavailable."""
        layers = {}
        for name, (pull, found, place) in self._found.items():
            with self._errors(name, place):
                layers[name] = pull.fetch(found)
        return layers

    def _say(self, text: str) -> None:
        self.output.take_turn()
        self.output.line(f"       {text}")

    def _source(self, name: str, patience: Patience, logins: Mapping[str, Login]) -> tuple[Source, str]:
        kind, colon, rest = name.partition(":")
        if colon and kind in _ARCHIVES:
            path, _, tag = rest.partition(":")
            return self._archive(path), tag
        settings = self.platform.settings
        reference = mirrored(parse_reference(name), settings.docker_hub_mirror)
        login = logins.get(reference.registry)
        reach = Reach(settings.private_registries)
        return Registry(reference, reach=reach, patience=patience, login=login), reference.name

    def _archive(self, path: str) -> ImageArchive:
        """The archive as a file of its own, without a name."""
        folder = self.platform.layout.sources
        with ExitStack() as failed:
            descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
            file = failed.enter_context(open(descriptor, "w+b"))
            try:
                self.tree.copy(path, file)
            except FileNotFoundError:
                raise NotFound(f"{quoted(path)} is not in the commit.") from None
            archive = ImageArchive(file)
            failed.pop_all()
            return archive

    @contextmanager
    def _errors(self, name: str, place: str) -> Iterator[None]:
        """The errors of images and registries, with the place that names the image."""
        try:
            yield
        except (ImageError, NotFound) as error:
            if self.output.cancelled():
                raise Cancelled("The build was cancelled.", cause="cancelled") from None
            reason = f"the image {quoted(name)} cannot be had: {str(error).rstrip('.')}"
            raise BuildFailed(
                f"{place}: {reason}.", _advice(name, error, place, self.tree), cause="no base image"
            ) from None
        except BuildFailed as error:
            raise BuildFailed(f"{place}: {error.message}", error.hint, cause=error.cause) from None


@dataclass
class BaseLayers:
    """The layers that steps and images of one build stand on."""

    platform: Platform
    stack: Stack
    """The app's."""
    images: Mapping[str, Pulled]
    output: Output
    _stacks: dict[str, Stack] = field(default_factory=dict)

    def layers(self, base: str) -> tuple[str, ...]:
        """Those of a step's `base`. Raises BuildFailed for what is not there."""
        name = base.removeprefix(FROM)
        if name == base:
            return {"build": self.stack.build, "": ()}.get(base, self.stack.run)
        if name in self.images:
            return self.images[name].stacked
        if name not in RECIPES:
            raise BuildFailed(
                f"FROM {quoted(name)}: no such stack.",
                f"There are {', '.join(RECIPES)}; {self.stack.name} is the stack of the app.",
                cause="cannot be built",
            )
        if name != self.stack.name and name not in self._stacks:
            self._stacks[name] = load_or_make(self.platform, name, self.output)
        return self._stacks.get(name, self.stack).run


def read_logins(text: str) -> dict[str, Login]:
    """By registry, from `auths` of Docker's config.json. Raises BuildFailed for what is no such JSON."""
    if not text.strip():
        return {}
    try:
        auths = json.loads(text)["auths"]
        pairs = [
            (str(host), base64.b64decode(entry["auth"], validate=True).decode())
            for host, entry in auths.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise BuildFailed(
            f"The config var {LOGINS} is not as in Docker's config.json.",
            'It looks like {"auths": {"registry.example.com": {"auth": "…"}}}, where auth is'
            " printf USER:PASSWORD | base64",
            cause="no base image",
        ) from None
    logins = {}
    for host, pair in pairs:
        name = host.partition("://")[2] or host
        name = name.partition("/")[0].lower()
        user, _, password = pair.partition(":")
        logins[DOCKER_HUB if name in _HUB else name] = Login(user, password)
    return logins


def _advice(name: str, error: Exception, place: str, tree: Tree) -> str:
    """What to do about an image that cannot be had."""
    pack = "" if " line " in place else "commit the buildpackage as a file that ends in .cnb, and name that."
    if isinstance(error, BadReference) and pack:
        return f"Write it like docker://registry.example.com/team/pack:1.2, or {pack}"
    if isinstance(error, BadReference):
        return "Write it like python:3.12-slim or registry.example.com/team/base:v7, or name a stack: FROM debian-12"
    if not isinstance(error, RegistryError):
        return "Commit the archive: docker save -o FILE IMAGE, and FROM docker-archive:FILE"
    host = _host(name)
    if "private network" in str(error) or "TLS only" in str(error):
        return "The platform's operator allows it: private_registries in paas.yml names the network."
    if error.status in (401, 403, 429):
        auth = f'{{"auths": {{"{host}": {{"auth": "…"}}}}}}'
        return (
            "Check the name. An image that needs a login gets it from a config var:"
            f" paas config:set {LOGINS}='{auth}', where auth is printf USER:PASSWORD | base64"
        )
    if error.status:
        return "Check the name and the tag."
    if pack:
        return f"Otherwise {pack}"
    word = name.rpartition("/")[2]
    _, builder, instead = next((row for row in _INSTEAD if word.startswith(row[0])), ("", "", ""))
    if any(pack.name == builder and pack.detect(tree) for pack in BUILDPACKS):
        instead += f"Or leave the Dockerfile out: paas builds:set builder={builder}. "
    mirror = "docker_hub_mirror in paas.yml names a registry that has it; " if host == DOCKER_HUB else ""
    return (
        f"{instead}Otherwise {mirror}or commit the image as a file: docker save -o base.tar"
        f" {quoted(name)}, and FROM docker-archive:base.tar"
    )


_INSTEAD = (
    ("python:", "python", "Write FROM debian-12, which has Python 3.11, and below it RUN python3 -m venv /venv and"
     " ENV PATH=/venv/bin:$PATH. "),
    ("node:", "node", "Write FROM debian-12, and below it RUN apt-get update && apt-get install -y nodejs npm (Node 18). "),
    ("golang:", "go", ""),
    ("php:", "php", ""),
    ("ruby:", "ruby", ""),
    ("ubuntu", "", "Write FROM debian-12, which has apt-get, too. "),
)  # fmt: skip
"""How the name of an image begins, the buildpack that may do without it, and what to write instead."""


def _host(name: str) -> str:
    try:
        return parse_reference(name).registry
    except BadReference:
        return ""
