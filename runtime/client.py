"""Client of the spawner: a connection per call, answers as values, refusals as SpawnerError."""

from __future__ import annotations

import builtins
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime import frames
from runtime.spec import ContainerSpec, Limits

QUICK_S = 60.0
SLOW_S = 3600.0


class SpawnerError(Exception):
    """The spawner refused or failed. `code` is stable, `unavailable` when it cannot be reached."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Exit:
    """How a container ended. `status` is what a shell would show; `signal` what killed it, if anything did."""

    status: int
    signal: int | None
    oom_kills: int
    peak_memory_bytes: int
    ended_at: float
    wall_exceeded: bool


@dataclass(frozen=True)
class Started:
    pid: int
    start_ticks: int
    boot_id: str
    address: str | None
    started_at: float


@dataclass(frozen=True)
class Observed:
    """A container as the spawner finds it. `state` is `running`, `exited` or `broken`."""

    id: str
    state: str
    pid: int
    start_ticks: int
    boot_id: str
    address: str | None
    started_at: float
    log: dict[str, str]
    exit: Exit | None


@dataclass(frozen=True)
class Layer:
    """A layer that was made. `digest` is None when there was nothing to put into it."""

    digest: str | None
    size_bytes: int
    files: int


@dataclass(frozen=True)
class StoredLayer:
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class Listening:
    address: str
    port: int


class Spawner:
    """Calls raise SpawnerError, also when nobody answers on `path` (code `unavailable`). `connect` makes a connection
    within so many seconds, or raises OSError; it may wait for a spawner that is on its way."""

    def __init__(
        self, path: str | os.PathLike[str], connect: Callable[[Path, float], socket.socket] | None = None
    ) -> None:
        self._path = Path(path)
        self._connect_to = connect or _connect

    def call(self, verb: str, *, timeout_s: float = QUICK_S, **arguments: Any) -> dict[str, Any]:
        """Any verb; the answer without `ok`."""
        try:
            with self._connect_to(self._path, timeout_s) as sock:
                answer = frames.call(sock, {"verb": verb, **arguments})
        except (OSError, frames.FrameError) as error:
            raise self._unavailable(error) from error
        return _checked(answer)

    def create(self, spec: ContainerSpec) -> Started:
        answer = self.call("create", spec=spec.to_json())
        return Started(**{name: answer[name] for name in Started.__dataclass_fields__})

    def signal(self, id: str, signal: str, *, all: bool = False) -> None:
        """Send `TERM` and the like to the main process, or with `all` to every one."""
        self.call("signal", id=id, signal=signal, all=all)

    def kill(self, id: str) -> None:
        self.call("kill", id=id)

    def limit(self, id: str, limits: Limits) -> None:
        self.call("limit", id=id, limits=asdict(limits))

    def delete(self, id: str) -> Exit | None:
        """End it if it runs, remove everything of it. Unknown ids are fine."""
        answer = self.call("delete", id=id)
        return _exit(answer["exit"])

    def list(self) -> builtins.list[Observed]:
        found = []
        for item in self.call("list")["instances"]:
            found.append(Observed(**{**item, "exit": _exit(item["exit"])}))
        return found

    def sockets(self, id: str) -> builtins.list[Listening]:
        """Listening TCP sockets inside."""
        return [Listening(**item) for item in self.call("sockets", id=id)["sockets"]]

    def stats(self, id: str) -> dict[str, Any]:
        """`memory_bytes`, `peak_memory_bytes`, `cpu_usec`, `pids`, `oom_kills`, `processes` (host pids)."""
        return self.call("stats", id=id)

    def snapshot(self, id: str, paths: Sequence[str]) -> Layer:
        """Make a layer of what an ended container wrote at these absolute paths."""
        return _layer(self.call("snapshot", timeout_s=SLOW_S, id=id, paths=[*paths]))

    def unpack(self, tar: str) -> Layer:
        """Make a layer of a tar in `sources/`."""
        return _layer(self.call("unpack", timeout_s=SLOW_S, tar=tar))

    def remove_layer(self, digest: str, *, unused_since: float | None = None) -> bool:
        """Remove a layer, unless a build made it or took it up at that time (unix seconds) or later; whether it
        is gone."""
        answer = self.call("layer_remove", timeout_s=SLOW_S, digest=digest, unused_since=unused_since)
        return bool(answer["removed"])

    def layers(self) -> builtins.list[StoredLayer]:
        """Every layer of the home, asked for in pieces. One that is made meanwhile may be missing."""
        found: builtins.list[StoredLayer] = []
        while True:
            after = found[-1].digest if found else ""
            answer = self.call("layers", timeout_s=SLOW_S, after=after)
            found += [StoredLayer(**item) for item in answer["layers"]]
            if not answer["more"]:
                return found

    def create_app(self, app_id: str) -> None:
        self.call("app_create", app_id=app_id)

    def remove_app(self, app_id: str) -> None:
        """Remove the logs, volumes and caches of an app."""
        self.call("app_remove", app_id=app_id)

    def clear_cache(self, app_id: str) -> None:
        self.call("cache_clear", app_id=app_id)

    def ensure_stack(self, name: str) -> dict[str, Any]:
        """Build a stack if it is missing, which takes minutes."""
        return self.call("stack", timeout_s=SLOW_S, name=name)

    def info(self) -> dict[str, Any]:
        return self.call("info")

    def watch(self) -> socket.socket:
        """A connection on which JSON messages arrive: `{"event": "exit" | "oom", "id": …}`."""
        try:
            sock = self._connect_to(self._path, QUICK_S)
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            _checked(_first_message(sock, {"verb": "watch"}))
            sock.settimeout(None)
            return sock
        except (OSError, frames.FrameError) as error:
            sock.close()
            raise self._unavailable(error) from error
        except SpawnerError:
            sock.close()
            raise

    def _unavailable(self, error: Exception) -> SpawnerError:
        return SpawnerError("unavailable", f"the spawner does not answer on {self._path}: {error}")


def _connect(path: Path, timeout_s: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(os.fspath(path))
    except OSError:
        sock.close()
        raise
    return sock


def _first_message(sock: socket.socket, request: dict[str, Any]) -> Any:
    """The answer alone, byte for byte, so that an event right behind it stays in the socket."""
    sock.sendall(frames.encode_json(request))
    decoder = frames.JsonDecoder()
    wanted = 4
    head = b""
    while True:
        data = sock.recv(wanted - len(head)) if len(head) < wanted else b""
        if not data:
            raise ConnectionError("the spawner closed the connection")
        head += data
        if len(head) == 4:
            wanted = 4 + int.from_bytes(head, "big")
        if len(head) == wanted and (messages := decoder.feed(head)):
            return messages[0]


def _checked(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise SpawnerError("protocol", "the spawner gave an answer that is no object")
    if answer.pop("ok", False) is True:
        return answer
    error = answer.get("error") or {}
    raise SpawnerError(
        str(error.get("code", "error")),
        str(error.get("message", "unknown error")),
        str(error.get("hint", "")),
    )


def _exit(data: dict[str, Any] | None) -> Exit | None:
    return None if data is None else Exit(**{name: data.get(name) for name in Exit.__dataclass_fields__})  # type: ignore[arg-type]


def _layer(answer: dict[str, Any]) -> Layer:
    return Layer(answer["digest"], int(answer["size_bytes"]), int(answer["files"]))
