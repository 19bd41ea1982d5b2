"""Run one step of a build in a container of its own, pass its output on, and keep what it made as a layer."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from buildpacks import dockerscript
from buildpacks.failurehint import FailureHint, named_cause
from buildpacks.surroundings import SURROUNDINGS
from paas.build.disk import DiskQuota
from paas.build.output import Output, PrintedLines
from paas.build.platform import Platform
from paas.nouns.errors import BuildFailed, Cancelled, PaasError, Unavailable
from paas.nouns.model import App
from paas.nouns.text import WARNING
from paas.runs.specs import id_base
from paas.store import instances
from runtime import frames
from runtime.client import SpawnerError
from runtime.spec import APP_USER, MAX_LAYERS, MIB, Box, Limits, Mount, Order, Process

POLL_S = 0.1
ATTACH_S = 10.0
CPU_WEIGHT = 20
_LEAST_WALL_S = 0.1
TAIL_LINES = 20

BASE_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/var/tmp/home",
    "TMPDIR": "/var/tmp",
    "CI": "true",
    "NO_COLOR": "1",
    "TERM": "dumb",
}
_PROLOGUE = """mkdir -p "$HOME/.config/uv"
printf '%s' "${PAAS_NPMRC:-}" >"$HOME/.npmrc"
printf '%s' "${PAAS_UV_TOML:-}" >"$HOME/.config/uv/uv.toml"
unset PAAS_NPMRC PAAS_UV_TOML
cd /app
tar --no-same-owner -xf -
exec </dev/null
"""


@dataclass(frozen=True)
class StepSpec:
    """A script to run: its title, the layers below it, and what it may see."""

    title: str
    script: str
    layers: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]
    stdin: bytes
    outputs: tuple[str, ...]
    apart: tuple[str, ...] = ()
    bare: bool = False
    without: tuple[str, ...] = ()
    root: bool = False
    failure_hints: tuple[FailureHint, ...] = ()
    notices: tuple[FailureHint, ...] = ()


@dataclass(frozen=True)
class MadeLayer:
    """The layer a step left; `digest` is empty when it changed nothing. `apart` are those of folders of their own, below it."""

    digest: str
    size_bytes: int
    files: int
    apart: tuple[MadeLayer, ...] = ()

    @property
    def all(self) -> tuple[MadeLayer, ...]:
        """Lowest first."""
        return *self.apart, self


def run_step(platform: Platform, app: App, build_number: int, spec: StepSpec, output: Output) -> MadeLayer:
    """Run the script and keep its outputs as a layer.

    Raises BuildFailed with the cause class, Cancelled, or Unavailable when the spawner is away. Whatever happens,
    the instance is gone afterwards and its row is ended.
    """
    output.take_turn()
    output.begin_step()
    with platform.store.write() as tx:
        row = instances.create(tx, app.id, kind="build", type="build", detail={"build": build_number})
    cause, exit_record = "cancelled", None
    try:
        platform.spawner.create(*_spec(platform, app, row.runtime_id, build_number, spec, output))
        disk = DiskQuota(platform, app, build_number, row.runtime_id)
        _stream(platform, row.runtime_id, spec, output, disk.check)
        disk.finish(output)
        exit_record = _exit(platform, row.runtime_id)
        cause = _cause(exit_record)
        if cause:
            raise _failure(platform, spec, cause, exit_record, output)
        for sentence in named_cause(spec.notices, output.recent) or ():
            output.line(WARNING + sentence)
        apart = tuple(_snapshot(platform, row.runtime_id, (folder,)) for folder in spec.apart)
        return replace(_snapshot(platform, row.runtime_id, spec.outputs, spec.without), apart=apart)
    except (SpawnerError, OSError) as error:
        cause = "platform error"
        raise spawner_failure(error) from error
    finally:
        with contextlib.suppress(SpawnerError, OSError):  # converge removes what is left
            platform.spawner.delete(row.runtime_id)
        with platform.store.write() as tx:
            instances.ended(tx, row.id, cause=cause or "finished", exit=exit_record)


def _snapshot(
    platform: Platform, runtime_id: str, paths: tuple[str, ...], without: tuple[str, ...] = ()
) -> MadeLayer:
    made = platform.spawner.snapshot(runtime_id, paths, without)
    return MadeLayer(made.digest or "", made.size_bytes, made.files)


def stacked(layers: Iterable[str], title: str) -> tuple[str, ...]:
    """Each once. Raises BuildFailed if they are more than a container has."""
    found = tuple(dict.fromkeys(layers))
    if len(found) > MAX_LAYERS:
        raise BuildFailed(
            f"{title}: {len(found)} layers are too many, a container has at most {MAX_LAYERS}.",
            "Make fewer: join commands (RUN one && two), or begin with an image of fewer layers.",
            cause="cannot be built",
        )
    return found


def spawner_failure(error: Exception) -> PaasError:
    """The error for a person when the spawner refused or is away."""
    if not isinstance(error, SpawnerError):
        return Unavailable("The spawner does not answer.", "See: paas server:status")
    if error.code in ("bad_archive", "bad_tree", "too_large"):
        return BuildFailed(
            f"The files cannot become a layer: {error.message}", error.hint, cause="cannot be built"
        )
    return Unavailable(f"The build could not run: {error.message}", error.hint)


def _spec(
    platform: Platform, app: App, runtime_id: str, number: int, spec: StepSpec, output: Output
) -> tuple[Order, Box]:
    settings = platform.settings
    start = (dockerscript.SHELL, dockerscript.START) if spec.bare else (("/bin/bash",), _PROLOGUE)
    argv = (*start[0], "-e", "-c", start[1] + spec.script)
    user = 0 if spec.root else APP_USER
    return Order(runtime_id, app.id, "build", number), Box(
        layers=spec.layers,
        process=Process(
            argv, {**BASE_ENV, **spec.env}, cwd="/", user=user, group=user, attach=True, root=spec.root
        ),
        id_base=id_base(platform.block_base(), app),
        hostname=f"{app.name}-build"[:63],
        resources=Limits(
            memory_bytes=settings.builds_memory_bytes,
            cpu_millis=settings.builds_cpu_millis,
            cpu_weight=CPU_WEIGHT,
            pids=settings.builds_pids,
            wall_s=max(_LEAST_WALL_S, settings.builds_wall_s - (time.monotonic() - output.began)),
        ),
        mounts=spec.mounts,
        bare=spec.bare,
    )


def _stream(
    platform: Platform, runtime_id: str, spec: StepSpec, output: Output, check: Callable[[], None]
) -> None:
    """Feed the standard input and pass lines on until the EXIT frame, and `check` the build. Raises Cancelled and what
    `check` does."""
    path = platform.layout.run_instances / runtime_id / "attach.sock"
    with _connect(path) as sock:
        sock.setblocking(False)
        to_send = memoryview(_stdin_frames(spec.stdin))
        decoder, lines = frames.FrameDecoder(), PrintedLines()
        poll = select.poll()
        while True:
            if output.cancelled():
                raise Cancelled("The build was cancelled.", cause="cancelled")
            check()
            poll.register(sock, select.POLLIN | (select.POLLOUT if to_send else 0))
            events = sum(event for _, event in poll.poll(POLL_S * 1000))
            if events & select.POLLOUT:
                to_send = to_send[_send(sock, to_send) :]
            if not events & ~select.POLLOUT:
                continue
            data = _receive(sock)
            for channel, payload in decoder.feed(data):
                if channel in (frames.STDOUT, frames.STDERR):
                    for line in lines.feed(payload):
                        output.from_instance(line)
                elif channel == frames.EXIT:
                    for line in lines.finish():
                        output.from_instance(line)
                    output.end_list()
                    return
            if not data:
                return


def _connect(path: Path) -> socket.socket:
    deadline = time.monotonic() + ATTACH_S
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
            return sock
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _stdin_frames(data: bytes) -> bytes:
    step = frames.MAX_FRAME_BYTES
    pieces = [frames.encode_frame(frames.STDIN, data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join([*pieces, frames.encode_frame(frames.STDIN)])


def _send(sock: socket.socket, data: memoryview) -> int:
    try:
        return sock.send(data[: 1 << 18])
    except BlockingIOError:
        return 0
    except (BrokenPipeError, ConnectionResetError):
        return len(data)  # the script ended without reading; its exit frame follows


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 18)
    except ConnectionResetError:
        return b""


def _exit(platform: Platform, runtime_id: str) -> dict[str, Any]:
    """The exit record; the frame may come a moment before the record is on disk."""
    deadline = time.monotonic() + ATTACH_S
    while time.monotonic() < deadline:
        for seen in platform.spawner.list():
            if seen.id == runtime_id and seen.exit is not None:
                return asdict(seen.exit)
        time.sleep(0.005)
    raise Unavailable("The build instance ended without saying how.", "Push again.")


def _cause(record: Mapping[str, Any]) -> str:
    """Why a build instance failed; empty when it did not."""
    if record.get("status") == 0:
        return ""
    if record.get("wall_exceeded"):
        return "build took too long"
    if record.get("oom_kills"):
        return "out of memory"
    return "build command failed"


def _failure(
    platform: Platform, spec: StepSpec, cause: str, record: Mapping[str, Any], output: Output
) -> BuildFailed:
    settings = platform.settings
    lines = () if output.whole else tuple(output.recent)[-TAIL_LINES:]
    status, signal = record.get("status"), record.get("signal")
    how = f"was killed by signal {signal}" if signal else f"exited with status {status}"
    if cause == "out of memory":
        limit, peak = settings.builds_memory_bytes, record.get("peak_memory_bytes") or 0
        how += f" (limit {limit // MIB} MiB, peak {peak // MIB} MiB)"
        hint = "Make the build smaller, or raise builds.memory_bytes in paas.yml."
    elif cause == "build took too long":
        how = f"did not end within {settings.builds_wall_s:g} s"
        hint = "Make the build faster, or raise builds.wall_s in paas.yml."
    else:
        named = named_cause([*spec.failure_hints, *SURROUNDINGS], [*output.errors, *output.recent])
        how += f": {named[0]}" if named else ""
        hint = named[1] if named else "Its own words are above."
    return BuildFailed(f"{spec.title} {how}", hint, cause=cause, lines=lines)
