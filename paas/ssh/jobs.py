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

from paas.host.launch import code_paths
from paas.keys.proof import Proof
from paas.nouns.errors import NotFound, PaasError, Unavailable, of_files
from paas.receive import progress, receive
from paas.receive.api import Api
from paas.receive.children import PROGRAMS
from paas.receive.push import Places, Push, current_heads
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

GREETING = (
    "Hello {user}! You are known here, and there is no shell.",
    "Push an app:    git push ssh://paas@HOST:PORT/APP main",
    "Run a command:  ssh -p PORT paas@HOST ps -a APP",
)


@dataclass(frozen=True)
class Office:
    """What every job needs to know of its platform."""

    home: Path
    api_socket: Path
    places: Places
    groups: tuple[Path, ...] = ()
    """The `cgroup.procs` files of the groups for work on what was pushed."""


@dataclass(frozen=True)
class Job:
    """What a user who proved a key asked for. `command` None: a shell; `terminal` is the TERM, None without a pty."""

    user: str
    proof: Proof
    command: bytes | None
    terminal: str | None = None


def enter(job: Job, office: Office, streams: list[int], parent: int) -> int:
    """Run the job in this forked process; its exit status. `streams`: a pty, or stdin, stdout, stderr."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return GIT_ERROR
    os.setsid()
    if len(streams) == 1:
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
        streams = streams * 3
    log = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    syscalls.close_all_except((log,))
    log_to(log)
    try:
        return run(job, office)
    except Hangup:
        return 129
    except Exception as error:
        if not isinstance(error, PaasError):
            log_crash(f"git job {describe(job)}")
            error = of_files(error) or internal_error()
        _tell(progress.failure(error))
        return GIT_ERROR if _is_git(job) else USAGE_ERROR


def run(job: Job, office: Office) -> int:
    """Do what the client asked for. Raises PaasError, Hangup."""
    if job.command is None:
        _tell([line.format(user=job.user) for line in GREETING])
        return 0
    asked = commands.parse(job.command, office.places.limits.command_bytes)
    if isinstance(asked, CliCommand):
        become_cli(asked, job, office)
    assert isinstance(asked, GitCommand)
    hang_up_on_signal()
    enter_groups(office.groups)
    api = Api(office.api_socket, job.proof)
    if asked.service == "upload-pack":
        fetch(asked, api, office)
    wire = Wire(0, 1, 2, office.places.limits.stall_s)
    push = Push(wire, office.places, api, job.user, asked.app)
    return receive.serve(push)


def become_cli(asked: CliCommand, job: Job, office: Office) -> None:
    """Turn this process into the CLI: no shell, nothing of the client's environment, no word for `ps`.

    Raises Unavailable when the user has too many commands under way.
    """
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PAAS_HOME": str(office.home),
        "PAAS_SOCKET": str(office.api_socket),
        "PAAS_SSH_PROOF": job.proof.encode(),
    }
    if job.terminal is not None:
        environ["TERM"] = commands.terminal_name(job.terminal)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    _take_place(job, office)
    if job.terminal is None:
        typed.gather(asked.words)
    words = str(typed.hold(asked.words))
    shut_in(office)
    os.execve(sys.executable, [sys.executable, "-P", "-m", "paas.ssh.typed", words], environ)


def _take_place(job: Job, office: Office) -> None:
    """One of the user's places for commands, over all connections, until this process ends. Raises Unavailable."""
    most = office.places.limits.commands_per_user
    place = office.places.repositories.slots(job.user, most, kind="commands").acquire()
    if place is None:
        raise Unavailable(
            f"{most} commands of yours run over ssh already.", "Wait for one of them, or end it."
        )
    os.set_inheritable(place, True)


def shut_in(office: Office) -> None:
    """Leave this process, and what it becomes, its own code to read and nothing to write (Landlock, if there is).

    Whatever a command may be talked into, the host key and other people's repositories are out of its reach.
    """
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    code = [Path(path) for path in PROGRAMS] + [Path("/etc"), *code_paths()]
    seen = [path for path in (office.home / "id", Path("/dev/urandom")) if os.path.exists(path)]
    used = [path for path in (Path("/dev/null"), Path("/dev/tty")) if os.path.exists(path)]
    restrict_files(Bounds(read=seen, write=used, run=code))


def fetch(asked: GitCommand, api: Api, office: Office) -> None:
    """Turn this process into git upload-pack of the app's repository. Raises NotFound."""
    app = api.repository(asked.app)
    if app is None:
        raise NotFound(f"There is no app {asked.app}.", "`paas apps` lists those you may see.")
    repository = office.places.repositories.of(app.id)
    current_heads(office.places.repositories, app, "fetch")
    if not repository.exists():
        raise NotFound(f"Nothing has been pushed to {asked.app} yet.")
    become_upload_pack(repository, os.getppid())


def describe(job: Job) -> str:
    """What the operator's log says of a job: never the words after the command, which may be secret."""
    if job.command is None:
        return "shell"
    try:
        asked = commands.parse(job.command)
    except PaasError:
        return "refused"
    return f"{asked.service}:{asked.app}" if isinstance(asked, GitCommand) else asked.words[0]


def _is_git(job: Job) -> bool:
    return job.command is not None and job.command.lstrip().startswith(b"git")


def _tell(lines: list[str]) -> None:
    with contextlib.suppress(OSError):
        os.write(2, "".join(line + "\n" for line in lines).encode("utf-8", "replace"))
