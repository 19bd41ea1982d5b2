"""The forked child that becomes a container: namespaces, mounts, identity, at last the app's program and pid 1.

It starts as real root in a copy of the spawner and ends as the app's user with nothing, or as user 0 of the app's
namespace with a few capabilities over it when a build is to be root inside. The user namespace is
entered last, since mounting sysfs and joining prepared namespaces need the machine's own. After `pivot_root` only
system calls happen: an import, a codec or a traceback would read a tenant's file with the runtime's rights.
"""

from __future__ import annotations

import array
import fcntl
import os
import resource
import signal
import socket
import stat
import struct
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

from runtime.container import init, program, rootfs
from runtime.container.mounts import Root, perform
from runtime.container.rootfs import Plan
from runtime.kernel import caps
from runtime.kernel import syscalls as sc
from runtime.kernel.poll import readable
from runtime.net.network import Endpoint, configure
from runtime.spec import Box, Process

READY, GO, TERMINAL = b"r", b"g", b"t"
"""The child tells the shim READY (its namespaces exist) and TERMINAL (with the pty); the shim answers GO."""

_NAMESPACES = sc.CLONE_NEWNS | sc.CLONE_NEWUTS | sc.CLONE_NEWIPC | sc.CLONE_NEWNET
_OOM_SCORE = b"200"
_IGNORED = (
    *(number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN),
    signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT,
)  # fmt: skip
"""Signals that this process or its parent the shim ignores, which a program it runs would inherit."""

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_LOWEST_COPY = 10


@dataclass(frozen=True)
class Streams:
    """The container's ends of its pipes; a container with a terminal has none, it opens a pty of its own."""

    stdin: int | None
    stdout: int
    stderr: int


@dataclass(frozen=True)
class Launch:
    """Everything the child needs, as descriptors and plain data. `layer_fds` and `upper_fd` are detached mounts; pid 1
    writes to `report_fd` how the main program ended."""

    box: Box
    plan: Plan
    stage: Path
    layer_fds: tuple[int, ...]
    upper_fd: int
    userns_fd: int
    init_fd: int
    start_fd: int
    seccomp: bytes
    endpoint: Endpoint | None
    streams: Streams | None = None
    report_fd: int = -1

    def descriptors(self) -> list[int]:
        found = [*self.layer_fds, self.upper_fd, self.userns_fd, self.init_fd, self.start_fd, self.report_fd]
        found += [view.source for view in self.plan.cgroups] + [bind.source for bind in self.plan.binds]
        if self.streams is not None:
            found += [self.streams.stdout, self.streams.stderr]
            found += [] if self.streams.stdin is None else [self.streams.stdin]
        return found


def run_child(launch: Launch, sync: socket.socket) -> None:
    """Run in the forked child; never returns. A failure is one message on `sync`, success its closing."""
    sync = socket.socket(fileno=_above(sync.detach()))
    try:
        _become(launch, sync)
    except BaseException as error:
        message = str(error) or type(error).__name__
        try:
            sync.send(b"!" + message.encode("utf-8", "replace")[:4000])
        finally:
            os._exit(125)


def _become(launch: Launch, sync: socket.socket) -> None:
    _isolate(launch, sync)
    box = launch.box
    overlay = rootfs.mount_overlay(launch.stage, launch.layer_fds, launch.userns_fd, launch.upper_fd)
    root = Root(overlay, box.id_base)
    perform(rootfs.plan(launch.plan), root)
    _standard_streams(launch, root, sync)
    env = [program.encoded(f"{name}={value}") for name, value in box.process.env.items()]
    pid_1_image = sc.ExecImage([b"init"], [])
    sys.meta_path.clear()
    sys.path.clear()
    sys.path_hooks.clear()
    _pivot(root.fd)
    _drop(launch, sync)
    pid_1, start, report = (_above(fd) for fd in (launch.init_fd, launch.start_fd, launch.report_fd))
    sc.close_all_except((sync.fileno(), pid_1, start, report))
    _enter_folder(box.process.cwd)
    sc.seccomp(launch.seccomp)
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    if os.fork() == 0:
        os._exit(program.run(box.process, start, env))
    os.dup2(report, init.REPORT_FD)
    sc.execveat(pid_1, pid_1_image)


def _above(fd: int) -> int:
    """A close-on-exec copy, beyond the numbers that pid 1 and the app use first."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_COPY)


def _isolate(launch: Launch, sync: socket.socket) -> None:
    """Enter a session, keyring and namespaces of its own. The spawner joins the process to its control groups between
    READY and GO."""
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    sc.close_all_except((sync.fileno(), *launch.descriptors()))
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    _limits(launch.box.resources.nofile)
    sc.join_new_session_keyring()
    sc.unshare(_NAMESPACES)
    sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
    socket.sethostname(launch.box.hostname)
    sync.send(READY)
    if sync.recv(1) != GO:
        os._exit(125)
    sc.unshare(sc.CLONE_NEWCGROUP)
    configure(launch.endpoint)


def _limits(nofile: int) -> None:
    """Limits are only lowered, so that no CAP_SYS_RESOURCE is needed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = nofile if hard == resource.RLIM_INFINITY else min(nofile, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, _OOM_SCORE)
    finally:
        os.close(fd)


def _standard_streams(launch: Launch, root: Root, sync: socket.socket) -> None:
    if launch.streams is None:
        stdin = stdout = stderr = _open_terminal(launch.box.process, root, sync)
    else:
        stdout, stderr = launch.streams.stdout, launch.streams.stderr
        stdin = _null(root) if launch.streams.stdin is None else launch.streams.stdin
    for number, fd in enumerate((stdin, stdout, stderr)):
        os.dup2(fd, number, inheritable=True)
        if fd != stdin or launch.streams is None or launch.streams.stdin is not None:
            # so that /dev/stdout can be opened by its name
            os.fchown(number, launch.box.user, -1)


def _null(root: Root) -> int:
    """/dev/null of the container. Its /dev is the runtime's file system by now, so this opens no file of the image."""
    fd = os.open(f"/proc/self/fd/{root.open('dev/null')}", os.O_RDONLY | os.O_CLOEXEC)
    if not stat.S_ISCHR(os.fstat(fd).st_mode):
        raise OSError("/dev/null is not a device")
    return fd


def _open_terminal(process: Process, root: Root, sync: socket.socket) -> int:
    """A pty of the container's own devpts as controlling terminal; its master goes to the shim."""
    name = root.open("dev/pts/ptmx")
    master = os.open(f"/proc/self/fd/{name}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave: int = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if process.terminal is not None:
        size = struct.pack("HHHH", process.terminal.rows, process.terminal.columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [master]))
    sync.sendmsg([TERMINAL], [rights])
    os.close(master)
    return slave


def _pivot(root: int) -> None:
    os.fchdir(root)
    sc.pivot_root(".", ".")
    sc.umount2(".", sc.MNT_DETACH)
    os.chdir("/")


def _drop(launch: Launch, sync: socket.socket) -> None:
    process = launch.box.process
    keep = caps.ROOT_BUILD if process.root else 0
    sc.setns(launch.userns_fd, sc.CLONE_NEWUSER)
    caps.drop_bounding(keep)
    os.setgroups([])
    os.setresgid(process.group, process.group, process.group)
    os.setresuid(process.user, process.user, process.user)
    # changing ids clears the parent-death signal; the shim may have died before it was set again
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if readable(sync.fileno()):
        os._exit(125)
    caps.drop(keep)


def _enter_folder(path: str) -> None:
    """chdir as the app's user while no folder is open, so that no link can lead outside the container."""
    os.chdir(path)
    if not os.getcwd().startswith("/"):
        raise OSError(f"{path}: the working directory lies outside the container")
