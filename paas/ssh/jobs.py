"""One command of one client: a process of its own, whose standard streams are the client's channel."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from paas.host.launch import code_paths
from paas.keys.proof import Proof
from paas.nouns.errors import NotFound, PaasError, Unavailable, of_files
from paas.nouns.names import AppName
from paas.receive import progress
from paas.receive.api import Api
from paas.receive.context import GitContext
from paas.receive.git import PROGRAMS
from paas.receive.heads import current_heads
from paas.receive.progress import Progress
from paas.receive.push import PushHandler
from paas.receive.upload import become_upload_pack
from paas.receive.verdicts import internal_error
from paas.receive.wire import Hangup, Wire, hang_up_on_signal
from paas.ssh import commands, typed
from paas.ssh.commands import CliCommand, GitCommand
from runtime.cgroup import enter as enter_groups
from runtime.kernel import syscalls
from runtime.kernel.confine import Bounds, restrict_files
from runtime.kernel.forked import log_crash, log_to

GIT_ERROR = 128
USAGE_ERROR = 2
HUNG_UP = 128 + signal.SIGHUP

GREETING = (
    "Hello {user}! You are signed in; this server gives no shell.",
    "Push an app:    git push ssh://paas@HOST:PORT/APP main",
    "Run a command:  ssh -p PORT paas@HOST ps -a APP",
)


@dataclass(frozen=True)
class Job:
    """A command of a user who has logged in. `command` None: a shell; `terminal` is the TERM, None without a pty."""

    user: str
    proof: Proof
    command: bytes | None
    terminal: str | None = None


def run_job(job: Job, ctx: GitContext, streams: list[int], parent: int) -> int:
    """Run the job in this forked process; its exit status. `streams`: a pty, or stdin, stdout, stderr."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return GIT_ERROR
    os.setsid()  # a group for the monitor to signal, and a session that a terminal can control
    if len(streams) == 1:
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
        streams = streams * 3
    log = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    syscalls.close_all_except((log,))
    log_to(log)
    try:
        return _dispatch(job, ctx)
    except Hangup:
        return HUNG_UP
    except Exception as error:
        if not isinstance(error, PaasError):
            log_crash(f"git job {describe(job)}")
            error = of_files(error) or internal_error()
        _say(progress.failure(error))
        return GIT_ERROR if _is_git(job) else USAGE_ERROR


def _dispatch(job: Job, ctx: GitContext) -> int:
    """Greet, execute the CLI or git upload-pack in this process, or serve a push. Raises PaasError, Hangup."""
    if job.command is None:
        _say([line.format(user=job.user) for line in GREETING])
        return 0
    command = commands.parse(job.command, ctx.limits.command_bytes)
    if isinstance(command, CliCommand):
        become_cli(command, job, ctx)
    hang_up_on_signal()
    enter_groups(ctx.groups)
    api = Api(ctx.api_socket, job.proof)
    if command.service == "upload-pack":
        become_fetch(command.app, api, ctx)
    wire = Wire(0, 1, 2, ctx.limits.stall_s)
    PushHandler(wire, ctx, api, job.user, command.app).serve()
    return 0


def become_cli(command: CliCommand, job: Job, ctx: GitContext) -> NoReturn:
    """Turn this process into the CLI: no shell, nothing of the client's environment, no word visible in `ps`.

    Raises Unavailable if the user runs too many commands.
    """
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PAAS_HOME": str(ctx.home),
        "PAAS_SOCKET": str(ctx.api_socket),
        "PAAS_SSH_PROOF": job.proof.encode(),
    }
    if job.terminal is not None:
        environ["TERM"] = commands.terminal_name(job.terminal)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    _take_slot(job, ctx)
    if job.terminal is None:
        typed.gather(command.words)
    words = str(typed.hold(command.words))
    shut_in(ctx)
    os.execve(sys.executable, [sys.executable, "-P", "-m", "paas.ssh.typed", words], environ)


def _take_slot(job: Job, ctx: GitContext) -> None:
    """Take one of the user's slots for commands, over all connections, until this process ends. Raises Unavailable."""
    most = ctx.limits.commands_per_user
    slot = ctx.repositories.slots(job.user, most, kind="commands").acquire()
    if slot is None:
        raise Unavailable(
            f"{most} commands of yours run over ssh already.", "Wait for one of them, or end it."
        )
    os.set_inheritable(slot, True)


def shut_in(ctx: GitContext) -> None:
    """Leave this process, and the program it executes, its own code to read and nothing to write (Landlock, where it exists).

    Whatever a bug in a command lets a client do, the host key and other people's repositories are out of its reach.
    """
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    code = [Path(path) for path in PROGRAMS] + [Path("/etc"), *code_paths()]
    readable = [path for path in (ctx.home / "id", Path("/dev/urandom")) if os.path.exists(path)]
    writable = [path for path in (Path("/dev/null"), Path("/dev/tty")) if os.path.exists(path)]
    restrict_files(Bounds(read=readable, write=writable, run=code))


def become_fetch(name: AppName, api: Api, ctx: GitContext) -> NoReturn:
    """Turn this process into git upload-pack on the app's repository. Raises NotFound."""
    app = api.repository(name)
    if app is None:
        raise NotFound(f"There is no app {name}.", "`paas apps` lists those you may see.")
    repository = ctx.repositories.of(app.id)
    current_heads(ctx.repositories, app, "fetch")
    if not repository.exists():
        raise NotFound(f"Nothing has been pushed to {name} yet.")
    become_upload_pack(repository, os.getppid())


def describe(job: Job) -> str:
    """A job in the operator's log: never the words after the command, which may be secret."""
    if job.command is None:
        return "shell"
    try:
        command = commands.parse(job.command)
    except PaasError:
        return "refused"
    return f"{command.service}:{command.app}" if isinstance(command, GitCommand) else command.words[0]


def _is_git(job: Job) -> bool:
    return job.command is not None and job.command.lstrip().startswith(b"git")


def _say(lines: list[str]) -> None:
    with contextlib.suppress(OSError):
        Progress(lambda data: os.write(2, data)).say(*lines)
