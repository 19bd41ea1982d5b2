"""Making, finding again and removing containers: the folders, groups, links and descriptors around one shim.

Each thing acquired registers how to undo it; success keeps them all. What a container is stands in
`state.json` of its run folder, with phase `creating` until it runs, so that a spawner that was killed at any point
leaves something the next one recognises.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.cgroup import Cgroups, Group
from runtime.container import child, rootfs, shim, sources
from runtime.container.rootfs import CgroupView, Plan
from runtime.home import Layout
from runtime.kernel import process
from runtime.kernel.process import Identity
from runtime.kernel.userns import UserNamespaces
from runtime.net.network import Endpoint, Network
from runtime.spawner.loop import readable
from runtime.spec import ContainerSpec, Limits, Log

HANDSHAKE_S = 25.0
_START_MILLIS = 1000
_RECORD_BYTES = 1024


class ContainerError(Exception):
    """A container could not be made or changed. `code` is stable."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Platform:
    """What all containers of one platform share; built once by the spawner."""

    layout: Layout
    cgroups: Cgroups
    network: Network | None
    userns: UserNamespaces
    init: int
    start: int
    seccomp: bytes
    stage: Path
    boot_id: str
    log_user: int
    log_group: int
    attach_group: int
    allow_bind: tuple[Path, ...] = ()


@dataclass
class Instance:
    """One container as the spawner knows it. Running or ended is found out by looking, never remembered."""

    id: str
    log: Log
    id_base: int
    process: Identity
    shim: Identity
    started_at: float
    address: str | None = None
    allow: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    pidfd: int | None = field(default=None, compare=False)
    shim_pidfd: int | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        del data["pidfd"], data["shim_pidfd"]
        return data | {"phase": "running"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Instance:
        """Raises KeyError or TypeError for anything that `to_json` did not write."""
        return cls(
            id=data["id"],
            log=Log(**data["log"]),
            id_base=data["id_base"],
            process=Identity(**data["process"]),
            shim=Identity(**data["shim"]),
            started_at=data["started_at"],
            address=data["address"],
            allow=tuple(data["allow"]),
            layers=tuple(data["layers"]),
        )

    def alive(self) -> bool:
        """Whether pid 1 of the container has not ended yet."""
        return self.pidfd is not None and not readable(self.pidfd)

    def shim_alive(self) -> bool:
        return self.shim_pidfd is not None and not readable(self.shim_pidfd)

    def close(self) -> None:
        for fd in (self.pidfd, self.shim_pidfd):
            if fd is not None:
                os.close(fd)
        self.pidfd = self.shim_pidfd = None


def run_folder(platform: Platform, instance_id: str) -> Path:
    return platform.layout.run_instances / instance_id


def create(platform: Platform, spec: ContainerSpec) -> Instance:
    """Make and start a container. Raises ContainerError, having undone everything."""
    with ExitStack() as undo:
        try:
            instance = _create(platform, spec, undo)
        except ContainerError:
            raise
        except OSError as error:
            detail = error.strerror or str(error)
            where = f"{error.filename}: " if error.filename else ""
            raise ContainerError("container_failed", f"{spec.id} cannot be made: {where}{detail}") from error
        except Exception as error:
            raise ContainerError("container_failed", f"{spec.id} cannot be made: {error}") from error
        undo.pop_all()
        return instance


def _create(platform: Platform, spec: ContainerSpec, undo: ExitStack) -> Instance:
    network = platform.network if spec.network else None
    with ExitStack() as ours:
        folder = run_folder(platform, spec.id)
        _make_run_folder(platform, folder, undo)
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(control.close)
        ours.callback(theirs.close)
        prepared = _prepare(platform, spec, theirs, undo, ours)
        shim_pid = os.fork()
        if shim_pid == 0:
            shim.run(prepared)
        undo.callback(_end_shim, shim_pid)
        theirs.close()
        init_pid = _joined(control, shim_pid, prepared.group)
        endpoint = prepared.launch.endpoint
        instance = Instance(
            id=spec.id,
            log=spec.log,
            id_base=spec.id_base,
            process=process.identify(init_pid, platform.boot_id),
            shim=process.identify(shim_pid, platform.boot_id),
            started_at=time.time(),
            address=None if endpoint is None else str(endpoint.address),
            allow=spec.allow,
            layers=spec.layers,
            pidfd=os.pidfd_open(init_pid),
            shim_pidfd=os.pidfd_open(shim_pid),
        )
        undo.callback(instance.close)
        _go(control, init_pid, network, endpoint)
        if spec.limits.cpu_millis < _START_MILLIS:
            prepared.group.limit(spec.limits)
        write_state(folder, instance.to_json())
        return instance


def _prepare(
    platform: Platform, spec: ContainerSpec, control: socket.socket, undo: ExitStack, ours: ExitStack
) -> shim.Shim:
    """Everything a shim needs, open: what lasts is in `undo`, descriptors that only the shim keeps in `ours`."""
    layers = sources.open_layers(platform.layout, spec.layers, ours)
    binds = sources.open_mounts(platform, spec, ours)
    logs = sources.open_logs(platform, spec, ours)
    group = platform.cgroups.create(spec.id, _while_starting(spec.limits))
    undo.callback(group.remove)
    endpoint = None
    if platform.network is not None and spec.network:
        endpoint = platform.network.allocate(spec.id, spec.allow)
        undo.callback(platform.network.detach, spec.id)
    instance = _make_upper(platform, spec, endpoint, undo, ours)
    views = [CgroupView(sources.open_folder(path, ours), name) for path, name in group.view()]
    started = child.Launch(
        spec=spec,
        plan=Plan(spec.id_base, spec.limits.memory_bytes, views, binds),
        stage=platform.stage,
        layers=layers,
        instance=instance,
        userns=platform.userns.get(spec.id_base),
        init=platform.init,
        start=platform.start,
        seccomp=platform.seccomp,
        streams=None,
        endpoint=endpoint,
    )
    folder = run_folder(platform, spec.id)
    return shim.Shim(
        launch=started,
        group=group,
        control=control,
        logs=logs,
        exit=_exit_file(folder, ours),
        listener=_listener(platform, spec, folder, ours),
        log_user=platform.log_user,
        log_group=platform.log_group,
    )


def _while_starting(limits: Limits) -> Limits:
    """The spawner waits for a start, so a container with little processor time gets its share afterwards."""
    return replace(limits, cpu_millis=max(limits.cpu_millis, _START_MILLIS))


def _make_run_folder(platform: Platform, folder: Path, undo: ExitStack) -> None:
    try:
        folder.mkdir(mode=0o750)
    except FileExistsError:
        raise ContainerError("exists", f"there is an instance {folder.name} already") from None
    undo.callback(_remove_folder, folder)
    os.chown(folder, 0, platform.attach_group)
    write_state(folder, {"id": folder.name, "phase": "creating"})


def _make_upper(
    platform: Platform, spec: ContainerSpec, endpoint: Endpoint | None, undo: ExitStack, ours: ExitStack
) -> int:
    folder = platform.layout.instances / spec.id
    folder.mkdir(mode=0o700)
    undo.callback(sources.discard, platform, spec.id)
    address = str(endpoint.address) if endpoint else "127.0.0.1"
    servers = endpoint.nameservers if endpoint else ()
    rootfs.make_upper(
        folder,
        spec.id_base,
        {
            "hostname": f"{spec.hostname}\n".encode(),
            "hosts": f"127.0.0.1 localhost\n{address} {spec.hostname}\n".encode(),
            "resolv.conf": "".join(f"nameserver {server}\n" for server in servers).encode(),
        },
    )
    return sources.open_folder(folder, ours)


def _exit_file(folder: Path, ours: ExitStack) -> int:
    """Opened for the shim, which may not open files, with its space taken, so that a full disk loses no end."""
    fd = os.open(folder / "exit.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)
    ours.callback(os.close, fd)
    os.posix_fallocate(fd, 0, _RECORD_BYTES)
    return fd


def _listener(platform: Platform, spec: ContainerSpec, folder: Path, ours: ExitStack) -> socket.socket | None:
    if not spec.attach and spec.terminal is None:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.callback(listener.close)
    path = os.fspath(folder / "attach.sock")
    listener.bind(path)
    os.chown(path, 0, platform.attach_group)
    os.chmod(path, 0o660)
    listener.listen(4)
    return listener


def _joined(control: socket.socket, shim_pid: int, group: Group) -> int:
    """First half of the handshake: the new process, which waits, joins its groups. Returns its pid."""
    control.settimeout(HANDSHAKE_S)
    group.join(shim_pid, shim=True)
    pid = int(_answer(control)["pid"])
    group.join(pid)
    return pid


def _go(control: socket.socket, pid: int, network: Network | None, endpoint: Endpoint | None) -> None:
    """Second half: attach the link, say go, hear that the program runs."""
    if network is not None and endpoint is not None:
        netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            network.attach(endpoint, netns)
        finally:
            os.close(netns)
    control.send(child.GO)
    _answer(control)


def _answer(control: socket.socket) -> dict[str, Any]:
    data = control.recv(8192)
    message: dict[str, Any] = json.loads(data) if data else {"error": "its shim died"}
    if "error" in message:
        raise ContainerError("container_failed", f"the container cannot start: {message['error']}")
    return message


def _end_shim(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def write_state(folder: Path, state: dict[str, Any]) -> None:
    temporary = folder / "state.tmp"
    temporary.write_text(json.dumps(state))
    temporary.rename(folder / "state.json")


def read_exit(platform: Platform, instance_id: str) -> dict[str, Any] | None:
    """The record the shim wrote; None while there is none."""
    try:
        data = (run_folder(platform, instance_id) / "exit.json").read_bytes()
        record = json.loads(data.rstrip(b"\0"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def lost_exit(group: Group) -> dict[str, Any]:
    """The record of a container whose shim was killed, so that the kernel killed it too."""
    stats = group.stats()
    return {
        "status": 128 + signal.SIGKILL,
        "signal": int(signal.SIGKILL),
        "oom_kills": stats.oom_kills,
        "peak_memory_bytes": stats.peak_memory_bytes,
        "ended_at": time.time(),
        "wall_exceeded": False,
    }


def remove(platform: Platform, instance_id: str) -> None:
    """Take away all that belongs to an instance that has ended, or was never finished. Idempotent."""
    platform.cgroups.group(instance_id).remove()
    if platform.network is not None:
        platform.network.detach(instance_id)
    sources.discard(platform, instance_id)
    _remove_folder(run_folder(platform, instance_id))


def _remove_folder(folder: Path) -> None:
    """A run folder holds files of ours only; state.json goes last, so that a half-removed one is recognised."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder), key=lambda name: name == "state.json"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def adopt(platform: Platform, folder: Path) -> Instance | None:
    """The instance whose run folder this is, its processes found again; None if it was never finished."""
    try:
        state = json.loads((folder / "state.json").read_bytes())
        instance = Instance.from_json(state)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if state.get("phase") != "running" or instance.process.boot_id != platform.boot_id:
        return None
    instance.pidfd = process.open_pidfd(instance.process, platform.boot_id)
    instance.shim_pidfd = process.open_pidfd(instance.shim, platform.boot_id)
    return instance
