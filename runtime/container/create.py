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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.cgroup import Group
from runtime.container import records, rootfs, shim, sources
from runtime.container.child import GO, Launch
from runtime.container.engine import ContainerError, Engine
from runtime.container.logs import Journal
from runtime.container.records import Instance
from runtime.container.rootfs import CgroupView, Plan
from runtime.kernel.process import identify
from runtime.net.network import Endpoint, Network
from runtime.spec import Box, Order

HANDSHAKE_S = shim.HANDSHAKE_S + 5.0
"""Longer than the shim waits for its child, so that the shim can report the error first."""

_START_MILLIS = 1000
"""The spawner waits for a start, so a container with less processor time gets its share only afterwards."""

_RECORD_BYTES = 1024


def create(engine: Engine, order: Order, box: Box) -> Instance:
    """Make and start a container. Raises ContainerError, having undone everything."""
    with ExitStack() as rollback, ExitStack() as shim_fds:
        try:
            instance = _Creation(engine, order, box, rollback, shim_fds).run()
        except ContainerError:
            raise
        except OSError as error:
            detail = error.strerror or str(error)
            where = f"{error.filename}: " if error.filename else ""
            raise ContainerError("container_failed", f"{order.id} cannot be made: {where}{detail}") from error
        except Exception as error:
            raise ContainerError("container_failed", f"{order.id} cannot be made: {error}") from error
        rollback.pop_all()
        return instance


@dataclass(frozen=True)
class _Creation:
    """One container on its way from a box to a running process."""

    engine: Engine
    order: Order
    box: Box
    rollback: ExitStack
    shim_fds: ExitStack

    def run(self) -> Instance:
        folder = self._run_folder()
        control, shim_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.shim_fds.callback(control.close)
        self.shim_fds.callback(shim_control.close)
        prepared = self._prepare(folder, shim_control)
        shim_pid = os.fork()
        if shim_pid == 0:
            shim.run(prepared)
        self.rollback.callback(_end_shim, shim_pid)
        shim_control.close()
        init_pid = _joined(control, shim_pid, prepared.group)
        instance = self._instance(init_pid, shim_pid, prepared.launch.endpoint)
        self.rollback.callback(instance.close)
        _go(control, init_pid, self.engine.network, prepared.launch.endpoint)
        if self.box.resources.cpu_millis < _START_MILLIS:
            prepared.group.limit(self.box.resources)
        records.write_state(folder, instance.to_json())
        return instance

    def _run_folder(self) -> Path:
        folder = self.engine.run_folder(self.order.id)
        try:
            folder.mkdir(mode=0o750)
        except FileExistsError:
            raise ContainerError("exists", f"there is an instance {folder.name} already") from None
        self.rollback.callback(_remove_folder, folder)
        os.chown(folder, 0, self.engine.attach_group)
        records.write_state(folder, {"id": folder.name, "phase": "creating"})
        return folder

    def _prepare(self, folder: Path, control: socket.socket) -> shim.Shim:
        """Open and make everything a shim needs."""
        engine, box, shim_fds = self.engine, self.box, self.shim_fds
        layer_fds = sources.open_layers(engine.layout, box.layers, shim_fds)
        binds = sources.open_mounts(engine, box, shim_fds)
        log_fds = sources.open_logs(engine, self.order, shim_fds)
        group = self._group()
        endpoint = self._endpoint()
        upper_fd = self._upper(endpoint)
        views = [CgroupView(sources.open_folder(path, shim_fds), name) for path, name in group.view()]
        launch = Launch(
            box=box,
            plan=Plan(box.id_base, box.resources.memory_bytes, views, binds, box.bare),
            stage=engine.stage,
            layer_fds=layer_fds,
            upper_fd=upper_fd,
            userns_fd=engine.userns.get(box.id_base),
            init_fd=engine.init_fd,
            start_fd=engine.start_fd,
            seccomp=engine.seccomp,
            endpoint=endpoint,
        )
        return shim.Shim(
            launch=launch,
            group=group,
            control=control,
            journal=Journal(self.order.log, self.order.name),
            log_fds=log_fds,
            exit_fd=self._exit_file(folder),
            listener=self._listener(folder),
            log_user=engine.log_user,
            log_group=engine.log_group,
        )

    def _group(self) -> Group:
        resources = self.box.resources
        at_start = replace(resources, cpu_millis=max(resources.cpu_millis, _START_MILLIS))
        group = self.engine.cgroups.create(self.order.id, at_start)
        self.rollback.callback(group.remove)
        return group

    def _endpoint(self) -> Endpoint | None:
        network = self.engine.network
        if network is None or not self.box.network:
            return None
        endpoint = network.allocate(self.order.id, self.box.allow)
        self.rollback.callback(network.detach, self.order.id)
        return endpoint

    def _upper(self, endpoint: Endpoint | None) -> int:
        folder = self.engine.layout.instances / self.order.id
        folder.mkdir(mode=0o700)
        self.rollback.callback(sources.discard, self.engine, self.order.id)
        hostname = self.box.hostname
        address = str(endpoint.address) if endpoint else "127.0.0.1"
        servers = endpoint.nameservers if endpoint else ()
        files = {
            "hostname": f"{hostname}\n",
            "hosts": f"127.0.0.1 localhost\n{address} {hostname}\n",
            "resolv.conf": "".join(f"nameserver {server}\n" for server in servers),
        }
        app_owner = None if self.box.bare else self.box.process.user
        rootfs.make_upper(folder, self.box.id_base, app_owner, files)
        return sources.open_folder(folder, self.shim_fds)

    def _exit_file(self, folder: Path) -> int:
        """Opened for the shim, which may not open files, with its space taken, so that a full disk loses no end."""
        fd = os.open(folder / "exit.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        self.shim_fds.callback(os.close, fd)
        os.posix_fallocate(fd, 0, _RECORD_BYTES)
        return fd

    def _listener(self, folder: Path) -> socket.socket | None:
        process = self.box.process
        if not process.attach and process.terminal is None:
            return None
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.shim_fds.callback(listener.close)
        path = os.fspath(folder / "attach.sock")
        listener.bind(path)
        os.chown(path, 0, self.engine.attach_group)
        os.chmod(path, 0o660)
        listener.listen(4)
        return listener

    def _instance(self, init_pid: int, shim_pid: int, endpoint: Endpoint | None) -> Instance:
        boot_id = self.engine.boot_id
        return Instance(
            order=self.order,
            id_base=self.box.id_base,
            process=identify(init_pid, boot_id),
            shim=identify(shim_pid, boot_id),
            started_at=time.time(),
            address=None if endpoint is None else str(endpoint.address),
            allow=self.box.allow,
            layers=self.box.layers,
            pidfd=os.pidfd_open(init_pid),
            shim_pidfd=os.pidfd_open(shim_pid),
        )


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
    control.send(GO)
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
