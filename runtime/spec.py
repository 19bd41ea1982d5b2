"""What the control plane asks the spawner for: an Order, which says what a container means, and a Box, which says what
the kernel gives it. Pure.

The runtime logs and lists the Order and nothing else depends on it. The Box is a fixed subset of the `config.json` of
the OCI runtime specification, in its words: every container gets the same namespaces, seccomp filter and masked paths,
and no capabilities, a build that is root inside those of `caps.ROOT_BUILD`. What the spawner parsed (`parse`) has been checked; from there on the types are trusted. Sizes are
bytes, cpu is thousandths of a core, times are seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from runtime.fields import SpecError, checked, failure, flag, number, optional, parse, path, sequence, text

__all__ = ["Box", "Limits", "Mount", "Order", "Process", "SpecError", "Terminal", "parse"]

MIB = 1024 * 1024
ID_RANGE = 65536
APP_USER = 1000

INSTANCE_ID = "[a-z][a-z0-9-]{0,19}"
APP_ID = "[a-z0-9][a-z0-9-]{0,31}"
DIGEST = "sha256:[0-9a-f]{64}"

MAX_LAYERS = 120
MAX_ENV_BYTES = 512 * 1024
MAX_ARGS_BYTES = 128 * 1024

_count, _release_number = number(0, 1 << 50), optional(number(1, 1 << 50))
_text, _digest, _env_name = text(), text(DIGEST), text("[A-Za-z_][A-Za-z0-9_]*")
_MOUNT_SOURCE = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_-]{0,63})*")


def _size(value: str) -> int:
    return len(value.encode("utf-8", "surrogateescape"))


def _args(name: str, value: object) -> tuple[str, ...]:
    words = sequence(name, value, _text, 4096, item=name)
    if not words or not words[0] or sum(map(_size, words)) > MAX_ARGS_BYTES:
        raise failure(name, len(words), "words: empty or too long")
    return words


def _env(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise failure(name, value, "is not an object")
    env = {_env_name("env name", key): _text(f"env {key}", item) for key, item in value.items()}
    if sum(len(key) + _size(item) + 2 for key, item in env.items()) > MAX_ENV_BYTES:
        raise failure(name, len(env), f"variables take more than {MAX_ENV_BYTES} bytes")
    return env


def _layers(name: str, value: object) -> tuple[str, ...]:
    layers = sequence(name, value, _digest, MAX_LAYERS, item="layer")
    if not layers or len(set(layers)) != len(layers):
        raise failure(name, value, "is empty or names a layer twice")
    return layers


def _id_base(name: str, value: object) -> int:
    base: int = number(ID_RANGE, (1 << 32) - ID_RANGE)(name, value)
    if base % ID_RANGE:
        raise failure(name, base, f"is not a multiple of {ID_RANGE}")
    return base


def _wall_s(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e7:
        raise failure(name, value, "is not a positive number of seconds")
    return value


def _mount_type(name: str, value: object) -> str:
    if value not in ("volume", "cache", "host"):
        raise failure(name, value, "is not volume, cache or host")
    return str(value)


def _destination(name: str, value: object) -> str:
    if (found := path(name, value)) == "/":
        raise failure(name, found, "is the root")
    return found


def _mounts(name: str, value: object) -> tuple[Mount, ...]:
    return sequence(name, value, _mount, 64, item="mount")


def _mount(name: str, value: object) -> Mount:
    mount = parse(Mount, value, name, "mount.")
    if mount.type == "host":
        path("mount.source", mount.source)
    elif not _MOUNT_SOURCE.fullmatch(mount.source):
        raise failure("mount.source", mount.source, "is not a name")
    return mount


@dataclass(frozen=True)
class Limits:
    """Quotas of one container. `swap_bytes` is swap on top of memory; `wall_s` kills after that long."""

    memory_bytes: int = checked(number(4 * MIB, 1 << 50), default=512 * MIB)
    swap_bytes: int = checked(number(0, 1 << 50), default=0)
    cpu_millis: int = checked(number(10, 1_000_000), default=1000)
    cpu_weight: int = checked(number(1, 10_000), default=100)
    pids: int = checked(number(4, 1_000_000), default=256)
    nofile: int = checked(number(64, 1_000_000), default=8192)
    wall_s: float | None = checked(optional(_wall_s), default=None)


def parse_limits(value: object) -> Limits:
    """Raises SpecError."""
    return parse(Limits, value, "limits", "limits.")


@dataclass(frozen=True)
class Mount:
    """A bind mount: `volume` and `cache` sources are names below the home's folders, `host` an allowed path."""

    type: Literal["volume", "cache", "host"] = checked(_mount_type)
    source: str = checked(_text)
    destination: str = checked(_destination)
    read_only: bool = checked(flag, default=False)


@dataclass(frozen=True)
class Terminal:
    """The size that the console has at first."""

    rows: int = checked(number(1, 4096), default=24)
    columns: int = checked(number(1, 4096), default=80)


@dataclass(frozen=True)
class Process:
    """The program. With `terminal` it gets a console, else pipes; both reach a client through the attach socket, pipes
    only if `attach` asks for it. User 0 is nobody special but for `root`, which only builds may ask for."""

    args: tuple[str, ...] = checked(_args)
    env: dict[str, str] = checked(_env, default_factory=dict)
    cwd: str = checked(path, default="/app")
    user: int = checked(number(0, ID_RANGE - 1), default=APP_USER)
    group: int = checked(number(0, ID_RANGE - 1), default=APP_USER)
    terminal: Terminal | None = checked(
        optional(lambda name, value: parse(Terminal, value, name, "terminal.")), default=None
    )
    attach: bool = checked(flag, default=False)
    root: bool = checked(flag, default=False)


@dataclass(frozen=True)
class Box:
    """One container as the kernel makes it.

    `layers` are the digests of its root, lowest first; `id_base` is the host's number of container id 0; without
    `network` there is loopback only, with it `allow` names the ADDRESS:PORT of neighbours it may reach. A `bare` one gets
    no /app, and /tmp is a folder of its root: nothing hides what its layers have there.
    """

    layers: tuple[str, ...] = checked(_layers)
    process: Process = checked(lambda name, value: parse(Process, value, name))
    id_base: int = checked(_id_base)
    hostname: str = checked(text("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"), default="app")
    mounts: tuple[Mount, ...] = checked(_mounts, default=())
    network: bool = checked(flag, default=True)
    bare: bool = checked(flag, default=False)
    allow: tuple[str, ...] = checked(
        lambda name, value: sequence(name, value, _text, 64, item=name), default=()
    )
    resources: Limits = checked(lambda name, value: parse_limits(value), default=Limits())

    @property
    def user(self) -> int:
        """The host's number of the process's user."""
        return self.id_base + self.process.user


@dataclass(frozen=True)
class Order:
    """One container as the control plane means it: process `type`.`number` of an app's release. `log` is the source
    that its lines name (`app[web.1]: …`)."""

    id: str = checked(text(INSTANCE_ID))
    app: str = checked(text(APP_ID))
    type: str = checked(text("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"), default="web")
    number: int = checked(_count, default=1)
    release: int | None = checked(_release_number, default=None)
    log: str = checked(text("[a-z]{1,16}"), default="app")

    @property
    def name(self) -> str:
        """What people call the process, and its lines name it by."""
        return f"{self.type}.{self.number}"
