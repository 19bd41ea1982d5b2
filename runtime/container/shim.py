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
from runtime.container.attach import Attach
from runtime.container.child import GO, READY, Launch, Streams, run_child
from runtime.container.logs import Journal, Ring
from runtime.container.processes import Processes
from runtime.container.pump import Ends, Pump
from runtime.kernel import caps
from runtime.kernel import syscalls as sc
from runtime.spec import Process

HANDSHAKE_S = 20.0
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Shim:
    """What the spawner hands to a shim. `control` is its end of a SOCK_SEQPACKET pair, `log_fds` the files of the ring."""

    launch: Launch
    group: Group
    control: socket.socket
    journal: Journal
    log_fds: tuple[int, int]
    exit_fd: int
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
    processes, ends = _start(shim)
    attach = None if shim.listener is None else Attach(shim.listener)
    pump = Pump(ends, processes, shim.journal, Ring(shim.log_fds), shim.exit_fd, attach)
    _drop(shim)
    shim.control.send(b'{"ok":true}')
    shim.control.close()
    pump.run()


def _detach(shim: Shim) -> None:
    """Let go of everything of the spawner's: session, descriptors, signals."""
    os.setsid()
    sc.prctl(sc.PR_SET_PDEATHSIG, 0)
    keep = [*shim.launch.descriptors(), shim.control.fileno(), *shim.log_fds, shim.exit_fd]
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


def _start(shim: Shim) -> tuple[Processes, Ends]:
    """Fork the child and see it become the container."""
    pipes, streams = _pipes(shim.launch.box.process)
    report, report_fd = os.pipe2(os.O_CLOEXEC)
    launch = replace(shim.launch, streams=streams, report_fd=report_fd)
    sync, child_sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sc.unshare(sc.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        run_child(launch, child_sync)
    child_sync.close()
    pidfd = os.pidfd_open(pid)
    for fd in set(launch.descriptors()):
        os.close(fd)
    try:
        master = _shake_hands(shim.control, pid, sync)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    sync.close()
    ends = pipes or Ends.of_terminal(master)
    return Processes(shim.group, pid, pidfd, report, launch.box.resources.wall_s), ends


def _pipes(process: Process) -> tuple[Ends | None, Streams | None]:
    """The shim's ends and the container's; none for a terminal, which the child makes. One pipe for both outputs keeps
    their lines in order, a client gets them apart."""
    if process.terminal is not None:
        return None, None
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    with suppress(OSError):
        fcntl.fcntl(out_w, _F_SETPIPE_SZ, _PIPE_BYTES)
    if not process.attach:
        return Ends(out_r), Streams(None, out_w, out_w)
    err_r, err_w = os.pipe2(os.O_CLOEXEC)
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    return Ends(out_r, err_r, in_w), Streams(in_r, out_w, err_w)


def _shake_hands(control: socket.socket, pid: int, sync: socket.socket) -> int:
    """Until the program runs: READY from the child to the spawner, GO back. Returns the master of the child's terminal,
    -1 if it has none."""
    sync.settimeout(HANDSHAKE_S)
    control.settimeout(HANDSHAKE_S)
    _expect(sync.recv(4096), READY)
    control.send(json.dumps({"pid": pid}).encode())
    _expect(control.recv(16), GO)
    sync.send(GO)
    master = -1
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
    """Keep the log user's rights and, as the real user, that of signalling the container."""
    os.setgroups([])
    os.setresgid(shim.log_group, shim.log_group, shim.log_group)
    os.setresuid(shim.launch.box.user, shim.log_user, shim.log_user)
    caps.drop()
