"""What a container is: the validated data that crosses from the unprivileged control plane to the spawner.

Pure. A `ContainerSpec` built by `ContainerSpec.from_json` has been checked: the spawner trusts the type and
nothing else. Sizes are bytes, cpu is thousandths of a core, times are seconds.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MIB = 1024 * 1024
ID_RANGE = 65536
APP_USER = 1000

_INSTANCE_ID = re.compile(r"[a-z][a-z0-9-]{0,19}")
_APP_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LOG_SOURCE = re.compile(r"[a-z]{1,16}")
_DYNO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

MAX_ENV_BYTES = 512 * 1024
MAX_ARGV_BYTES = 128 * 1024


class SpecError(ValueError):
    """The spec breaks a rule; the message names the field and the value."""


@dataclass(frozen=True)
class Limits:
    """Quotas of one instance. `swap_bytes` is swap on top of memory; `wall_s` kills after that long."""

    memory_bytes: int = 512 * MIB
    swap_bytes: int = 0
    cpu_millis: int = 1000
    cpu_weight: int = 100
    pids: int = 256
    nofile: int = 8192
    wall_s: float | None = None


@dataclass(frozen=True)
class Mount:
    """A bind mount: `volume` and `cache` sources are names below the home's folders, `host` an allowed path."""

    kind: Literal["volume", "cache", "host"]
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Log:
    """Where the shim writes lines: folder `logs/APP_ID`, prefix `source[dyno]:`."""

    app_id: str
    source: str = "app"
    dyno: str = "web.1"


@dataclass(frozen=True)
class Terminal:
    rows: int = 24
    columns: int = 80


@dataclass(frozen=True)
class ContainerSpec:
    """One container, complete. `layers` are digests, lowest first; `id_base` maps container id 0."""

    id: str
    layers: tuple[str, ...]
    argv: tuple[str, ...]
    id_base: int
    log: Log
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/app"
    user: int = APP_USER
    group: int = APP_USER
    hostname: str = "app"
    limits: Limits = field(default_factory=Limits)
    mounts: tuple[Mount, ...] = ()
    network: bool = True
    allow: tuple[str, ...] = ()
    terminal: Terminal | None = None
    attach: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> ContainerSpec:
        """Parse and validate. Raises SpecError for anything that is not exactly a spec."""
        return _parse(data)


def _fail(field_name: str, value: object, rule: str) -> SpecError:
    shown = repr(value)
    return SpecError(f"{field_name}: {shown[:80]} {rule}")


def _text(field_name: str, value: object, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or "\0" in value or not _encodable(value):
        raise _fail(field_name, value, "is not text")
    if pattern is not None and not pattern.fullmatch(value):
        raise _fail(field_name, value, f"does not match {pattern.pattern}")
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _number(field_name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _fail(field_name, value, f"is not an integer from {low} to {high}")
    return value


def _path(field_name: str, value: object) -> str:
    text = _text(field_name, value)
    if text[:1] != "/" or text[:2] == "//" or posixpath.normpath(text) != text:
        raise _fail(field_name, value, "is not an absolute, normal path")
    if text in ("/proc", "/sys") or text.startswith(("/proc/", "/sys/")):
        raise _fail(field_name, value, "lies in /proc or /sys")
    return text


def _flag(field_name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _fail(field_name, value, "is not true or false")
    return value


def _object(field_name: str, value: object, allowed: set[str], required: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _fail(field_name, value, "is not an object")
    unknown = set(value) - allowed
    if unknown:
        raise _fail(field_name, sorted(unknown)[0], "is not a known key")
    missing = required - set(value)
    if missing:
        raise _fail(field_name, sorted(missing)[0], "is missing")
    return value


def _sequence(field_name: str, value: object, most: int) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) > most:
        raise _fail(field_name, value, f"is not a list of at most {most}")
    return list(value)


_LIMIT_KEYS = {"memory_bytes", "swap_bytes", "cpu_millis", "cpu_weight", "pids", "nofile", "wall_s"}


def parse_limits(value: object) -> Limits:
    """Validate the `limits` object. Raises SpecError."""
    data = _object("limits", value, _LIMIT_KEYS, set())
    wall = data.get("wall_s")
    if wall is not None and (
        isinstance(wall, bool) or not isinstance(wall, int | float) or not 0 < wall < 1e7
    ):
        raise _fail("limits.wall_s", wall, "is not a positive number of seconds")
    plain = Limits()
    return Limits(
        memory_bytes=_number(
            "limits.memory_bytes", data.get("memory_bytes", plain.memory_bytes), 4 * MIB, 1 << 50
        ),
        swap_bytes=_number("limits.swap_bytes", data.get("swap_bytes", plain.swap_bytes), 0, 1 << 50),
        cpu_millis=_number("limits.cpu_millis", data.get("cpu_millis", plain.cpu_millis), 10, 1_000_000),
        cpu_weight=_number("limits.cpu_weight", data.get("cpu_weight", plain.cpu_weight), 1, 10_000),
        pids=_number("limits.pids", data.get("pids", plain.pids), 4, 1_000_000),
        nofile=_number("limits.nofile", data.get("nofile", plain.nofile), 64, 1_000_000),
        wall_s=wall,
    )


def _parse_mount(value: object) -> Mount:
    data = _object("mount", value, {"kind", "source", "target", "read_only"}, {"kind", "source", "target"})
    kind = data["kind"]
    if kind not in ("volume", "cache", "host"):
        raise _fail("mount.kind", kind, "is not volume, cache or host")
    source = (
        _path("mount.source", data["source"]) if kind == "host" else _text("mount.source", data["source"])
    )
    if kind != "host" and not all(_VOLUME.fullmatch(part) for part in source.split("/")):
        raise _fail("mount.source", source, "is not a name")
    target = _path("mount.target", data["target"])
    if target == "/":
        raise _fail("mount.target", target, "is the root")
    return Mount(kind, source, target, _flag("mount.read_only", data.get("read_only", False)))


def _parse_env(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _fail("env", value, "is not an object")
    env = {_text("env name", name, _ENV_NAME): _text(f"env {name}", text) for name, text in value.items()}
    if (
        sum(len(name) + len(text.encode("utf-8", "surrogateescape")) + 2 for name, text in env.items())
        > MAX_ENV_BYTES
    ):
        raise _fail("env", len(env), f"variables take more than {MAX_ENV_BYTES} bytes")
    return env


_SPEC_KEYS = {
    "id", "layers", "argv", "id_base", "log", "env", "cwd", "user", "group", "hostname",
    "limits", "mounts", "network", "allow", "terminal", "attach",
}  # fmt: skip


def _parse(value: object) -> ContainerSpec:
    data = _object("spec", value, _SPEC_KEYS, {"id", "layers", "argv", "id_base", "log"})
    layers = tuple(_text("layer", item, _DIGEST) for item in _sequence("layers", data["layers"], 120))
    if not layers or len(set(layers)) != len(layers):
        raise _fail("layers", data["layers"], "is empty or names a layer twice")
    argv = tuple(_text("argv", item) for item in _sequence("argv", data["argv"], 4096))
    if (
        not argv
        or not argv[0]
        or sum(len(a.encode("utf-8", "surrogateescape")) for a in argv) > MAX_ARGV_BYTES
    ):
        raise _fail("argv", len(argv), "words: empty or too long")
    base = _number("id_base", data["id_base"], ID_RANGE, (1 << 32) - ID_RANGE)
    if base % ID_RANGE:
        raise _fail("id_base", base, f"is not a multiple of {ID_RANGE}")
    log = _object("log", data["log"], {"app_id", "source", "dyno"}, {"app_id"})
    terminal = data.get("terminal")
    if terminal is not None:
        size = _object("terminal", terminal, {"rows", "columns"}, {"rows", "columns"})
        terminal = Terminal(
            _number("terminal.rows", size["rows"], 1, 4096),
            _number("terminal.columns", size["columns"], 1, 4096),
        )
    return ContainerSpec(
        id=_text("id", data["id"], _INSTANCE_ID),
        layers=layers,
        argv=argv,
        id_base=base,
        log=Log(
            _text("log.app_id", log["app_id"], _APP_ID),
            _text("log.source", log.get("source", "app"), _LOG_SOURCE),
            _text("log.dyno", log.get("dyno", "web.1"), _DYNO),
        ),
        env=_parse_env(data.get("env", {})),
        cwd=_path("cwd", data.get("cwd", "/app")),
        user=_number("user", data.get("user", APP_USER), 0, ID_RANGE - 1),
        group=_number("group", data.get("group", APP_USER), 0, ID_RANGE - 1),
        hostname=_text("hostname", data.get("hostname", "app"), _HOSTNAME),
        limits=parse_limits(data.get("limits", {})),
        mounts=tuple(_parse_mount(item) for item in _sequence("mounts", data.get("mounts", []), 64)),
        network=_flag("network", data.get("network", True)),
        allow=tuple(_text("allow", item) for item in _sequence("allow", data.get("allow", []), 64)),
        terminal=terminal,
        attach=_flag("attach", data.get("attach", False)),
    )
