"""What a new release changes against the serving one: a class for each operation. Transactions, nothing waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from paas.nouns.errors import BadInput, NotFound
from paas.nouns.model import App, Release
from paas.nouns.names import check_config
from paas.store import Tx, configs, formations, images, releases


@dataclass(frozen=True)
class Parts:
    """What a release is made of. `limits` are those that change, by process type."""

    image_digest: str | None = None
    commit: str | None = None
    config_number: int = 0
    limits: Mapping[str, dict[str, int]] = field(default_factory=dict)
    origin: str = ""

    @classmethod
    def of(cls, release: Release | None) -> Parts:
        """Without a release: no image, and the empty configuration."""
        if release is None:
            return cls()
        return cls(release.image_digest, release.commit, release.config_number, origin=release.origin)


@dataclass(frozen=True, kw_only=True)
class Change(ABC):
    """One operation: its actor, and its description in the list of releases."""

    actor: str
    description: str

    @abstractmethod
    def parts(self, tx: Tx, app: App, base: Parts) -> Parts:
        """The parts of the release that follows `base`. Raises BadInput or NotFound for an impossible change."""


@dataclass(frozen=True, kw_only=True)
class Push(Change):
    """A new image. `beside`: the release is a canary's, so the running processes are left alone."""

    image_digest: str
    commit: str | None = None
    set_vars: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, dict[str, int]] = field(default_factory=dict)
    beside: bool = False
    origin: str = ""

    def parts(self, tx: Tx, app: App, base: Parts) -> Parts:
        number = _changed_config(tx, app, base.config_number, self.set_vars)
        return Parts(self.image_digest, self.commit, number, self.limits, self.origin)


@dataclass(frozen=True, kw_only=True)
class SetConfig(Change):
    set_vars: Mapping[str, str] = field(default_factory=dict)
    unset_vars: tuple[str, ...] = ()

    def parts(self, tx: Tx, app: App, base: Parts) -> Parts:
        number = _changed_config(tx, app, base.config_number, self.set_vars, self.unset_vars)
        return replace(base, config_number=number)


@dataclass(frozen=True, kw_only=True)
class SetLimits(Change):
    """`limits` has all limits of each process type that it names."""

    limits: Mapping[str, dict[str, int]]

    def parts(self, tx: Tx, app: App, base: Parts) -> Parts:
        return replace(base, limits=self.limits)


@dataclass(frozen=True, kw_only=True)
class Rollback(Change):
    """The image, config vars and limits of an earlier release again."""

    to: int

    def parts(self, tx: Tx, app: App, base: Parts) -> Parts:
        target = rollback_target(tx, app, self.to)
        unlimited: dict[str, dict[str, int]] = {type: {} for type in formations.of_app(tx, app.id)}
        return replace(Parts.of(target), limits={**unlimited, **target.limits})


@dataclass(frozen=True, kw_only=True)
class Promote(Rollback):
    """The canary's release becomes the serving one; it must still be the canary."""


def rollback_target(tx: Tx, app: App, number: int | None) -> Release:
    """The release to go back to: `number`, or the newest succeeded one before the serving one.

    Raises NotFound or BadInput with what to use instead.
    """
    release = _previous(tx, app) if number is None else releases.get(tx, app.id, number)
    if release is None:
        raise NotFound(f"{app.name} has no release v{number}.", "See: paas releases")
    if release.state != "succeeded":
        raise BadInput(f"v{release.number} never ran ({release.state}).", "Choose a succeeded release.")
    if images.of(tx, release) is None:
        raise BadInput(
            f"The image of v{release.number} is no longer kept.",
            "Deploy it again, or choose a newer one.",
        )
    if not configs.kept(tx, app.id, release.config_number):
        raise BadInput(f"The config vars of v{release.number} are no longer kept.", "Choose a newer release.")
    return release


def _previous(tx: Tx, app: App) -> Release:
    for release in releases.of_app(tx, app.id):
        older = release.number < (app.release_number or 0)
        if older and release.state == "succeeded" and release.image_digest is not None:
            return release
    raise BadInput(f"{app.name} has no earlier release to go back to.", "See: paas releases")


def _changed_config(
    tx: Tx, app: App, number: int, set_vars: Mapping[str, str], unset_vars: tuple[str, ...] = ()
) -> int:
    """The number of the configuration that follows number `number`, which is the same if nothing changes."""
    if not set_vars and not unset_vars:
        return number
    kept = {name: value for name, value in configs.get(tx, app.id, number).items() if name not in unset_vars}
    values = {**kept, **set_vars}
    check_config(values)
    return configs.put(tx, app.id, values)
