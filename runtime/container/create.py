"""Making and removing a container: the folders, groups, links and descriptors around one shim.

Each step registers its undoing on `rollback`; success keeps everything. The state file of the run folder has phase
`creating` until the container runs, so that after a spawner was killed at any point its successor recognises what is
left. `shim_fds` holds the descriptors that only the shim keeps; the spawner closes its copies either way.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.cgroup import Group
from runtime.container import child, records, rootfs, shim, sources
from runtime.container.engine import ContainerError, Engine
from runtime.container.records import Instance
from runtime.container.rootfs import CgroupView, Plan
from runtime.kernel import process
from runtime.net.network import Endpoint, Network
from runtime.spec import ContainerSpec, Limits

HANDSHAKE_S = 25.0
_START_MILLIS = 1000
_RECORD_BYTES = 1024


def create(engine: Engine, spec: ContainerSpec) -> Instance:
    """Make and start a container. Raises ContainerError, having undone everything."""
    with ExitStack() as rollback:
        try:
            instance = _create(engine, spec, rollback)
        except ContainerError:
            raise
        except OSError as error:
            detail = error.strerror or str(error)
            where = f"{error.filename}: " if error.filename else ""
            raise ContainerError("container_failed", f"{spec.id} cannot be made: {where}{detail}") from error
        except Exception as error:
            raise ContainerError("container_failed", f"{spec.id} cannot be made: {error}") from error
        rollback.pop_all()
        return instance


def _create(engine: Engine, spec: ContainerSpec, rollback: ExitStack) -> Instance:
    network = engine.network if spec.network else None
    with ExitStack() as shim_fds:
        folder = engine.run_folder(spec.id)
        _make_run_folder(engine, folder, rollback)
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        shim_fds.callback(control.close)
        shim_fds.callback(theirs.close)
        prepared = _prepare(engine, spec, theirs, rollback, shim_fds)
        shim_pid = os.fork()
        if shim_pid == 0:
            shim.run(prepared)
        rollback.callback(_end_shim, shim_pid)
        theirs.close()
        init_pid = _joined(control, shim_pid, prepared.group)
        endpoint = prepared.launch.endpoint
        instance = Instance(
            id=spec.id,
            log=spec.log,
            id_base=spec.id_base,
            process=process.identify(init_pid, engine.boot_id),
            shim=process.identify(shim_pid, engine.boot_id),
            started_at=time.time(),
            address=None if endpoint is None else str(endpoint.address),
            allow=spec.allow,
            layers=spec.layers,
            pidfd=os.pidfd_open(init_pid),
            shim_pidfd=os.pidfd_open(shim_pid),
        )
        rollback.callback(instance.close)
        _go(control, init_pid, network, endpoint)
        if spec.limits.cpu_millis < _START_MILLIS:
            prepared.group.limit(spec.limits)
        records.write_state(folder, instance.to_json())
        return instance


def _prepare(
    engine: Engine, spec: ContainerSpec, control: socket.socket, rollback: ExitStack, shim_fds: ExitStack
) -> shim.Shim:
    """Open and make everything a shim needs."""
    layers = sources.open_layers(engine.layout, spec.layers, shim_fds)
    binds = sources.open_mounts(engine, spec, shim_fds)
    logs = sources.open_logs(engine, spec, shim_fds)
    group = engine.cgroups.create(spec.id, _while_starting(spec.limits))
    rollback.callback(group.remove)
    endpoint = None
    if engine.network is not None and spec.network:
        endpoint = engine.network.allocate(spec.id, spec.allow)
        rollback.callback(engine.network.detach, spec.id)
    instance = _make_upper(engine, spec, endpoint, rollback, shim_fds)
    views = [CgroupView(sources.open_folder(path, shim_fds), name) for path, name in group.view()]
    started = child.Launch(
        spec=spec,
        plan=Plan(spec.id_base, spec.limits.memory_bytes, views, binds),
        stage=engine.stage,
        layers=layers,
        instance=instance,
        userns=engine.userns.get(spec.id_base),
        init=engine.init,
        start=engine.start,
        seccomp=engine.seccomp,
        streams=None,
        endpoint=endpoint,
    )
    folder = engine.run_folder(spec.id)
    return shim.Shim(
        launch=started,
        group=group,
        control=control,
        logs=logs,
        exit=_exit_file(folder, shim_fds),
        listener=_listener(engine, spec, folder, shim_fds),
        log_user=engine.log_user,
        log_group=engine.log_group,
    )


def _while_starting(limits: Limits) -> Limits:
    """The spawner waits for a start, so a container with little processor time gets its share afterwards."""
    return replace(limits, cpu_millis=max(limits.cpu_millis, _START_MILLIS))


def _make_run_folder(engine: Engine, folder: Path, rollback: ExitStack) -> None:
    try:
        folder.mkdir(mode=0o750)
    except FileExistsError:
        raise ContainerError("exists", f"there is an instance {folder.name} already") from None
    rollback.callback(_remove_folder, folder)
    os.chown(folder, 0, engine.attach_group)
    records.write_state(folder, {"id": folder.name, "phase": "creating"})


def _make_upper(
    engine: Engine, spec: ContainerSpec, endpoint: Endpoint | None, rollback: ExitStack, shim_fds: ExitStack
) -> int:
    folder = engine.layout.instances / spec.id
    folder.mkdir(mode=0o700)
    rollback.callback(sources.discard, engine, spec.id)
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
    return sources.open_folder(folder, shim_fds)


def _exit_file(folder: Path, shim_fds: ExitStack) -> int:
    """Opened for the shim, which may not open files, with its space taken, so that a full disk loses no end."""
    fd = os.open(folder / "exit.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)
    shim_fds.callback(os.close, fd)
    os.posix_fallocate(fd, 0, _RECORD_BYTES)
    return fd


def _listener(engine: Engine, spec: ContainerSpec, folder: Path, shim_fds: ExitStack) -> socket.socket | None:
    if not spec.attach and spec.terminal is None:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    shim_fds.callback(listener.close)
    path = os.fspath(folder / "attach.sock")
    listener.bind(path)
    os.chown(path, 0, engine.attach_group)
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


def remove(engine: Engine, instance_id: str) -> None:
    """Take away all that belongs to an instance that has ended, or was never finished. Idempotent."""
    engine.cgroups.group(instance_id).remove()
    if engine.network is not None:
        engine.network.detach(instance_id)
    sources.discard(engine, instance_id)
    _remove_folder(engine.run_folder(instance_id))


def _remove_folder(folder: Path) -> None:
    """A run folder holds only files of the runtime; state.json goes last, so that a half-removed one is recognised."""
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder), key=lambda name: name == "state.json"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
