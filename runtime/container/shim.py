"""The container's parent: one small process per instance that outlives every daemon.

It makes the container, holds its pipes or its terminal, writes its log lines, serves an attached client, ends it
when its time is up, and records how it ended. All of this happens through descriptors it was given: once the
container runs, its effective user is the log user. Its real user is the container's, which is all the right it has
to signal the container (kill(2)), and what lets the kernel end the container when the shim dies.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

from runtime.cgroup import Group
from runtime.container import child as launch
from runtime.container.child import Launch, Streams
from runtime.container.processes import Processes
from runtime.container.pump import Pump
from runtime.kernel import caps
from runtime.kernel import syscalls as sc

HANDSHAKE_S = 20.0
_MASTER_BYTES = 4
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Shim:
    """What the spawner hands to a shim. `control` is its end of a SOCK_SEQPACKET pair."""

    launch: Launch
    group: Group
    control: socket.socket
    logs: tuple[int, int]
    exit: int
    listener: socket.socket | None
    log_user: int
    log_group: int


def run(shim: Shim) -> NoReturn:
    """The whole life of the shim, in a freshly forked child."""
    try:
        _run(shim)
    except BaseException as error:
        with suppress(OSError):
            shim.control.send(json.dumps({"error": f"shim: {type(error).__name__}: {error}"[:4000]}).encode())
    finally:
        os._exit(0)


def _run(shim: Shim) -> None:
    _detach(shim)
    spec = shim.launch.spec
    ours, streams = _pipes(spec.attach and spec.terminal is None) if spec.terminal is None else ([], None)
    report, reporting = os.pipe2(os.O_CLOEXEC)
    started = replace(shim.launch, streams=streams, report=reporting)
    parent, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sc.unshare(sc.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        launch.become(started, child)
    child.close()
    pidfd = os.pidfd_open(pid)
    for fd in set(started.descriptors()):
        os.close(fd)
    try:
        master = _start(shim, pid, parent)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    parent.close()
    if master is not None:
        ours = [master]
    processes = Processes(shim.group, pid, pidfd, report)
    pump = Pump(shim.launch.spec, shim.group, processes, ours, shim.logs, shim.exit, shim.listener)
    _drop(shim)
    shim.control.send(b'{"ok":true}')
    shim.control.close()
    pump.run()


def _detach(shim: Shim) -> None:
    """Let go of everything of the spawner's: session, descriptors, signals."""
    os.setsid()
    sc.prctl(sc.PR_SET_PDEATHSIG, 0)
    keep = [*shim.launch.descriptors(), shim.control.fileno(), *shim.logs, shim.exit]
    if shim.listener is not None:
        keep.append(shim.listener.fileno())
    with open("/proc/self/comm", "w") as name:
        name.write("paas-shim")
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    sc.close_all_except(keep)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.disable()
    gc.freeze()


def _pipes(attached: bool) -> tuple[list[int], Streams]:
    """Our ends (stdout, stderr, stdin if attached) and the container's; else one pipe keeps both in order."""
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    with suppress(OSError):
        fcntl.fcntl(out_w, _F_SETPIPE_SZ, _PIPE_BYTES)
    if not attached:
        return [out_r], Streams(None, out_w, out_w)
    err_r, err_w = os.pipe2(os.O_CLOEXEC)
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    return [out_r, err_r, in_w], Streams(in_r, out_w, err_w)


def _start(shim: Shim, pid: int, sync: socket.socket) -> int | None:
    """The handshake that ends with a running program; returns the master of its terminal, if it has one."""
    sync.settimeout(HANDSHAKE_S)
    shim.control.settimeout(HANDSHAKE_S)
    _expect(sync.recv(4096), launch.READY)
    shim.control.send(json.dumps({"pid": pid}).encode())
    _expect(shim.control.recv(16), launch.GO)
    sync.send(launch.GO)
    master = None
    while True:
        message, rights, _, _ = socket.recv_fds(sync, 8192, 1)
        if rights:
            master = rights[0]
            os.set_inheritable(master, False)
        elif not message:
            return master
        else:
            raise RuntimeError(message[1:].decode("utf-8", "replace"))


def _expect(message: bytes, wanted: bytes) -> None:
    if message != wanted:
        raise RuntimeError(
            message[1:].decode("utf-8", "replace") or "the container ended while it was set up"
        )


def _drop(shim: Shim) -> None:
    spec = shim.launch.spec
    os.setgroups([])
    os.setresgid(shim.log_group, shim.log_group, shim.log_group)
    os.setresuid(spec.id_base + spec.user, shim.log_user, shim.log_user)
    caps.drop_all()
