"""The nouns, as immutable values. Pure: no I/O, no clock; the store makes them from rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from paas.nouns.startup import STOP_SIGNAL, WEB_PORT, Startup, startup_of


@dataclass(frozen=True)
class User:
    id: int
    name: str
    role: str

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


@dataclass(frozen=True)
class App:
    id: str
    name: str
    owner_id: int | None
    range_index: int
    deploy_branch: str
    stack: str
    release_number: int | None
    restart_token: int
    destroying: bool
    created_at: float
    build_settings: dict[str, str] = field(default_factory=dict)
    """What differs from the defaults in `paas.nouns.buildsettings`."""


@dataclass(frozen=True)
class Image:
    """`digest` names the OCI manifest; `layers` are digests, lowest first, the stack's included."""

    app_id: str
    digest: str
    layers: tuple[str, ...]
    env: dict[str, str]
    processes: dict[str, str]
    manifest: dict[str, Any]
    stack: str
    size_bytes: int

    @property
    def startup(self) -> Startup | None:
        """How its processes start; None if a buildpack made it: then a shell runs them as the app's user."""
        return startup_of(self.manifest)

    @property
    def web_port(self) -> int:
        return self.startup.port if self.startup else WEB_PORT

    @property
    def stop_signal(self) -> str:
        return self.startup.stop_signal if self.startup else STOP_SIGNAL


@dataclass(frozen=True)
class Build:
    app_id: str
    number: int
    commit: str
    tree: str
    actor: str
    status: str
    cause: str
    image_digest: str | None
    holder: str
    started_at: float
    finished_at: float | None
    origin: str = ""
    """Where the source came from: an archive's name, or URL#REF of a repository elsewhere; empty for a push."""


@dataclass(frozen=True)
class Release:
    app_id: str
    number: int
    image_digest: str | None
    config_number: int
    limits: dict[str, dict[str, int]]
    description: str
    commit: str | None
    actor: str
    state: str
    cause: str
    created_at: float
    origin: str = ""
    """As in `Build`. `commit` is then a commit of that repository, or None."""


@dataclass(frozen=True)
class FormationEntry:
    """Desired count of one process type. `limits` holds only what differs from the defaults.

    A release has the limits of all types too, and both are needed: its copy never changes, so that instances start and a
    rollback returns with the limits of their time; this one is what the next release is made from, and it can name a type
    that no release has run yet. They differ only while a deployment is under way: `store/deployments.py` gives the serving
    release's limits back when it fails.
    """

    app_id: str
    type: str
    quantity: int
    limits: dict[str, int] = field(default_factory=dict)
    stopped: bool = False


@dataclass(frozen=True)
class Deployment:
    id: int
    app_id: str
    release_number: int
    from_release: int | None
    push: bool
    state: str
    cancel_requested: bool
    error: dict[str, Any] | None
    created_at: float
    step_at: float
    finished_at: float | None


@dataclass(frozen=True)
class Canary:
    """A release that runs `quantity` web instances beside the serving one and gets `share` percent of the requests."""

    app_id: str
    release_number: int
    share: int
    quantity: int
    created_at: float


CANARY = "canary"


@dataclass(frozen=True)
class Instance:
    """One container. `name` is what people call it (`web.1`), `runtime_id` what the spawner does (`i91`). A
    canary's instance is of type `web` in a slot of its own (`canary.1`)."""

    id: int
    app_id: str
    kind: str
    type: str
    number: int
    release_number: int | None
    deployment_id: int | None
    restart_token: int
    state: str
    detail: dict[str, Any]
    address: str | None
    port: int | None
    created_at: float
    state_at: float
    healthy_at: float | None
    ended_at: float | None
    cause: str
    exit: dict[str, Any] | None
    canary: bool = False

    @property
    def slot(self) -> tuple[str, int]:
        """Type and number, as in its name."""
        return (CANARY if self.canary else self.type, self.number)

    @property
    def name(self) -> str:
        return "{}.{}".format(*self.slot)

    @property
    def runtime_id(self) -> str:
        return f"i{self.id}"

    @property
    def crashed(self) -> bool:
        """True if it ended by itself; neither the platform nor a person stopped it (`why` in its detail)."""
        return self.ended_at is not None and bool(self.cause) and not self.detail.get("why")


@dataclass(frozen=True)
class LayerKey:
    """A dependency layer in the cache: the inputs that it was made from (`key`), and the result."""

    key: str
    digest: str
    size_bytes: int
    used_at: float


@dataclass(frozen=True)
class Domain:
    """`name` is a host, a wildcard `*.example.com`, or one of them with a path: `example.com/api`."""

    name: str
    app_id: str
    created_at: float

    @property
    def host(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Hook:
    """An address at which a forge tells of pushes to `branch` of the repository at `url`, which may hold a login.

    Since `wanted_at` a push waits that no build has begun for. `said` is what became of the last delivery, at `heard_at`.
    """

    id: str
    app_id: str
    url: str = field(repr=False)
    branch: str
    secret: str = field(repr=False)
    wanted_at: float | None
    heard_at: float | None
    said: str
    created_at: float
    created_by: str


@dataclass(frozen=True)
class Key:
    """An SSH public key of a user; `fingerprint` is `SHA256:…` as `ssh-keygen -l` prints it."""

    fingerprint: str
    user_id: int
    public_key: str
    comment: str
    created_at: float


@dataclass(frozen=True)
class Token:
    """An API token; the secret itself is not kept."""

    id: int
    user_id: int
    name: str
    created_at: float
    last_used_at: float | None


@dataclass(frozen=True)
class Event:
    seq: int
    at: float
    app_id: str | None
    actor: str
    verb: str
    detail: dict[str, Any]
