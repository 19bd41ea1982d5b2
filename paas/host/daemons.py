"""What each daemon runs, as which user, what it sees of the home, where it listens, and when it is ready."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from paas.host import accounts, launch
from paas.host.listeners import Listeners
from paas.host.supervise import Daemon
from paas.nouns.errors import Unavailable
from paas.nouns.settings import Settings
from paas.routing import workers
from runtime import cgroup
from runtime.client import Spawner, SpawnerError
from runtime.home import Layout

READY_ANSWER_S = 1.0
"""How long a daemon may take to answer a readiness check."""


@dataclass(frozen=True)
class Wiring:
    """What the daemons are made of. `settings_file` holds the settings for them."""

    settings: Settings
    layout: Layout
    settings_file: Path
    listeners: Listeners

    def view(self, writable: Sequence[Path], read_only: Sequence[Path] = ()) -> launch.View:
        """The paths of the home that the daemon sees."""
        shown = (*launch.code_paths(), *read_only)
        return launch.View(hidden=(self.layout.home,), read_only=shown, writable=tuple(writable))

    def control_view(self) -> launch.View:
        """What converge and the api see."""
        layout = self.layout
        writable = [layout.database.parent, layout.images, layout.builds, layout.logs, layout.sources]
        writable += [layout.edge, layout.secrets / "certificates"]
        return self.view(writable, [path for path in [self.settings.acme_ca] if path])


def all_daemons(wiring: Wiring) -> list[Daemon]:
    """In the order in which they start. The spawner is last: asking the package tools what builds may bind takes as long as
    the others take to start."""
    routers = [_router(wiring, index) for index in range(wiring.settings.router_workers)]
    return [_converge(wiring), _api(wiring), _git(wiring), *routers, _spawner(wiring)]


def _converge(wiring: Wiring) -> Daemon:
    control, path = accounts.account(accounts.CONTROL), wiring.layout.converge_socket
    words = ["-m", "paas.converge", "--settings", str(wiring.settings_file)]
    start = _starter(words, control, wiring.control_view())
    return Daemon("converge", control.name, str(path), start, lambda pid: _listens(path))


def _api(wiring: Wiring) -> Daemon:
    control, path = accounts.account(accounts.CONTROL), wiring.layout.api_socket
    fd, lent = wiring.listeners.api.fileno(), _lend(wiring.layout, "api", control)
    words = ["-m", "paas.api.serve", "--settings", str(wiring.settings_file), "--listen-fd", str(fd)]
    words += [word for path in lent.work for word in ("--group", str(path))]
    start = _starter(words, control, wiring.control_view(), keep=[fd], groups=lent.daemon)
    listens = f"http://{wiring.settings.api} and {path}"
    return Daemon("api", control.name, listens, start, lambda pid: _answers_http(path))


def _git(wiring: Wiring) -> Daemon:
    layout, account = wiring.layout, accounts.account(accounts.GIT)
    fd, lent = wiring.listeners.ssh.fileno(), _lend(layout, "git", account)
    words = ["-m", "paas.ssh", "--settings", str(wiring.settings_file), "--listen-fd", str(fd)]
    words += [word for path in lent.work for word in ("--group", str(path))]
    view = wiring.view([layout.repos, layout.sources, layout.secrets / "ssh"])
    start = _starter(words, account, view, keep=[fd], groups=lent.daemon)
    listens = f"ssh://{wiring.settings.ssh}"
    return Daemon("git", account.name, listens, start, lambda pid: _listens(layout.git_socket))


def _lend(layout: Layout, name: str, account: accounts.Account) -> cgroup.Lent:
    """Control groups that a daemon without privileges puts its children into."""
    try:
        groups = cgroup.detect(layout.id)
        return groups.lend(name, cgroup.work_limits(), account.uid, account.gid)
    except (cgroup.CgroupError, OSError) as error:
        raise Unavailable(f"Control groups cannot be made: {error}", "See: paas doctor") from error


def _router(wiring: Wiring, index: int) -> Daemon:
    settings, layout, listeners = wiring.settings, wiring.layout, wiring.listeners
    plain, secure = listeners.http[index].fileno(), [sock.fileno() for sock in listeners.https[index:][:1]]
    words = ["-m", "router", "--worker", str(index + 1), "--listen-fd", str(plain)]
    words += [word for fd in secure for word in ("--tls-listen-fd", str(fd))]
    words += ["--control", str(layout.router_control), "--table", str(layout.router / "table.json")]
    words += ["--log-dir", str(layout.logs / "router"), "--files", str(layout.edge)]
    words += ["--drain", str(settings.drain_timeout_s)]
    words += [word for network in settings.trust for word in ("--trust", str(network))]
    words += [word for network in settings.proxy_protocol for word in ("--proxy-protocol", str(network))]
    words += ["--client-connections", str(settings.client_connections)]
    view = wiring.view([layout.router, layout.logs / "router"], [layout.edge])
    user = accounts.account(accounts.ROUTER)
    start = _starter(words, user, view, keep=[plain, *secure], die_with_parent=False)
    listens = f"http://{settings.http}" + (f" and https://{settings.https}" if secure else "")
    ready = partial(workers.up_to_date, layout.router_control)
    return Daemon(f"router.{index + 1}", user.name, listens, start, ready, renewable=True)


def _spawner(wiring: Wiring) -> Daemon:
    layout, binds = wiring.layout, list[str]()

    def start() -> int:
        if not binds:
            for path in _host_binds(wiring.settings_file):
                binds.extend(("--allow-bind", path))
        words = [
            "-m",
            "runtime.spawner.server",
            "--home",
            str(layout.home),
            "--stacks",
            str(layout.stacks),
            *binds,
        ]
        return _starter(words, accounts.Account("root", 0, 0), None)()

    path = layout.spawner_socket
    return Daemon("spawner", "root", str(path), start, lambda pid: _spawns(path))


def _host_binds(settings_file: Path) -> list[str]:
    """`publish.host_binds` of a process of its own, since what reads package settings is a third of an idle supervisor."""
    group_id = str(accounts.account(accounts.CONTROL).gid)
    command = [sys.executable, "-P", "-m", "paas.build.publish", str(settings_file), group_id]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise Unavailable("The machine's package settings cannot be published.", "See the lines above.")
    return list(json.loads(done.stdout))


def _starter(
    words: list[str],
    account: accounts.Account,
    view: launch.View | None,
    *,
    keep: Sequence[int] = (),
    groups: Sequence[Path] = (),
    die_with_parent: bool = True,
) -> Callable[[], int]:
    program = launch.Program(
        (sys.executable, "-P", *words), account, view, ENVIRON, tuple(keep), tuple(groups), die_with_parent
    )
    return partial(launch.start, program)


ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""The environment of every daemon: the operator's registry settings are in settings files and nowhere else."""


def _listens(path: Path) -> bool:
    """True if a process listens for datagrams there: a dead daemon's socket refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


def _answers_http(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
        sock.settimeout(READY_ANSWER_S)
        sock.connect(str(path))
        sock.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return sock.recv(5) == b"HTTP/"
    return False


def _spawns(path: Path) -> bool:
    with contextlib.suppress(SpawnerError):
        return bool(Spawner(path).call("info", timeout_s=READY_ANSWER_S))
    return False
