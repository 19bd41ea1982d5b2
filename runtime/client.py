"""Client of the spawner: a connection per call, answers as values, refusals as SpawnerError."""

from __future__ import annotations

import builtins
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime import frames
from runtime.protocol import Exit, Layer, Listening, Observed, Refusal, Started, StoredLayer, read
from runtime.spec import Box, Limits, Order

QUICK_S = 60.0
SLOW_S = 3600.0
_UNAVAILABLE = "unavailable"


class SpawnerError(Refusal):
    """The spawner refused or failed; the code is `unavailable` when it cannot be reached."""


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

    def _call_again(self, verb: str, *, timeout_s: float = QUICK_S, **arguments: Any) -> dict[str, Any]:
        """A call that may be made twice: once more if the spawner dies before it answers."""
        try:
            return self.call(verb, timeout_s=timeout_s, **arguments)
        except SpawnerError as error:
            if error.code != _UNAVAILABLE:
                raise
            return self.call(verb, timeout_s=timeout_s, **arguments)

    def create(self, order: Order, box: Box) -> Started:
        return read(Started, self.call("create", order=asdict(order), box=asdict(box)))

    def signal(self, id: str, signal: str, *, all: bool = False) -> None:
        """Send `TERM` and the like to the main process, or with `all` to every one, which are being stopped then."""
        self.call("signal", id=id, signal=signal, all=all)

    def kill(self, id: str) -> None:
        self.call("kill", id=id)

    def limit(self, id: str, limits: Limits) -> None:
        self.call("limit", id=id, limits=asdict(limits))

    def delete(self, id: str) -> Exit | None:
        """End it if it runs, remove everything of it. Unknown ids are fine."""
        return _exit(self.call("delete", id=id)["exit"])

    def list(self) -> builtins.list[Observed]:
        return [
            read(Observed, {**item, "order": Order(**item["order"]), "exit": _exit(item["exit"])})
            for item in self.call("list")["instances"]
        ]

    def sockets(self, id: str) -> builtins.list[Listening]:
        """Listening TCP sockets inside."""
        return [read(Listening, item) for item in self.call("sockets", id=id)["sockets"]]

    def stats(self, id: str) -> dict[str, Any]:
        """`memory_bytes`, `peak_memory_bytes`, `cpu_usec`, `pids`, `oom_kills`, `processes` (host pids)."""
        return self.call("stats", id=id)

    def disk(self, id: str, most_bytes: int, most_files: int) -> dict[str, Any]:
        """`bytes` and `files` of what it wrote (`upper`) and of its app's `cache`; not much more than `most` is counted."""
        return self._call_again("disk", timeout_s=SLOW_S, id=id, most_bytes=most_bytes, most_files=most_files)

    def empty_cache(self, app_id: str) -> None:
        """Empty the cache of an app's builds."""
        self.call("cache_empty", app_id=app_id)

    def snapshot(self, id: str, paths: Sequence[str], without: Sequence[str] = ()) -> Layer:
        """Make a layer of an ended container's files at and below these absolute paths (`/` is all), `without` others."""
        answer = self._call_again("snapshot", timeout_s=SLOW_S, id=id, paths=[*paths], without=[*without])
        return read(Layer, answer)

    def unpack(self, tar: str, *, image: bool = False) -> Layer:
        """Make a layer of a tar in `sources/`; of an `image` from elsewhere it may be compressed."""
        return read(Layer, self._call_again("unpack", timeout_s=SLOW_S, tar=tar, image=image))

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
            found += [read(StoredLayer, item) for item in answer["layers"]]
            if not answer["more"]:
                return found

    def create_app(self, app_id: str) -> None:
        self.call("app_create", app_id=app_id)

    def remove_app(self, app_id: str) -> None:
        """Remove the logs, volumes and caches of an app."""
        self.call("app_remove", app_id=app_id)

    def ensure_stack(self, name: str, *, again: bool = False) -> dict[str, Any]:
        """Build a stack if it is missing, or `again`, which takes minutes."""
        return self.call("stack", timeout_s=SLOW_S, name=name, again=again)

    def info(self) -> dict[str, Any]:
        return self.call("info")

    def watch(self) -> socket.socket:
        """A connection on which JSON messages arrive: `{"event": "exit" | "oom", "id": …}`."""
        try:
            sock = self._connect_to(self._path, QUICK_S)
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            _checked(frames.call(sock, {"verb": "watch"}))
            sock.settimeout(None)
            return sock
        except (OSError, frames.FrameError) as error:
            sock.close()
            raise self._unavailable(error) from error
        except SpawnerError:
            sock.close()
            raise

    def _unavailable(self, error: Exception) -> SpawnerError:
        return SpawnerError(_UNAVAILABLE, f"the spawner does not answer on {self._path}: {error}")


def _connect(path: Path, timeout_s: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(os.fspath(path))
    except OSError:
        sock.close()
        raise
    return sock


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


def _exit(record: dict[str, Any] | None) -> Exit | None:
    return None if record is None else read(Exit, record)
