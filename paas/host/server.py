"""`paas server`: the only wiring. Settings become folders, listeners and daemons, each under its own user."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from paas.build import publish
from paas.daemon import presence
from paas.front import workers
from paas.host import accounts, launch
from paas.host.claim import claimed
from paas.host.supervise import Daemon, Supervisor
from paas.nouns.errors import BadInput, Conflict, PaasError, Unavailable
from paas.nouns.settings import Address, Settings
from runtime import cgroup
from runtime.client import Spawner, SpawnerError
from runtime.home import Layout
from runtime.kernel import files

READY_S = 30.0
"""How often to say what is not ready yet."""
ASKED_S = 1.0


def run(settings: Settings, *, stop_apps: bool = False) -> int:
    """Run the platform in the foreground until Ctrl-C; the exit status. Raises PaasError before it serves."""
    began = time.monotonic()
    if os.geteuid() != 0:
        raise PaasError("The server starts as root and gives each daemon its own user.", "Run it with sudo.")
    if settings.acme_ca is not None and not settings.acme_ca.is_file():
        raise BadInput(f"acme_ca: there is no file {settings.acme_ca}.")
    accounts.ensure_accounts()
    settings = _identified(settings)
    layout = settings.layout()
    with claimed(layout):
        presence.announce(layout.run)
        try:
            return _serve(settings, layout, began, stop_apps)
        finally:
            (layout.run / "status.json").unlink(missing_ok=True)


def _serve(settings: Settings, layout: Layout, began: float, stop_apps: bool) -> int:
    accounts.ensure_folders(accounts.durable_folders(layout) + accounts.run_folders(layout))
    settings_file = _write_settings(settings, layout)
    old_workers = workers.answering(layout.router_control)
    listeners = _Listeners(settings, shared=bool(old_workers))
    supervisor = Supervisor(
        _daemons(settings, layout, settings_file, listeners),
        layout.run / "status.json",
        _facts(settings),
        _say,
    )
    supervisor.start()
    if supervisor.wait_ready(READY_S):
        for daemon in supervisor.daemons:
            _say(f"{daemon.name:<9} pid {daemon.pid:<7} user {daemon.user:<12} {daemon.listens}")
        for path in old_workers:
            workers.ask(path, "drain")
        _say(f"ready in {time.monotonic() - began:.2f} s · home {settings.home} · Ctrl-C stops it")
    supervisor.run()
    _stop(supervisor, settings, layout, stop_apps)
    return 0


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


def _identified(settings: Settings) -> Settings:
    identity = accounts.ensure_identity(settings.home)
    return Settings.from_json({**settings.to_json(), "id": identity})


def _write_settings(settings: Settings, layout: Layout) -> Path:
    path = layout.run / "settings.json"
    files.replace(path, json.dumps(settings.to_json(), indent=1), mode=0o644, durable=False)
    return path


def _facts(settings: Settings) -> dict[str, Any]:
    return {"pid": os.getpid(), "started_at": time.time(), "settings": settings.to_json()}


class _Listeners:
    """Bound sockets that the supervisor keeps open and passes down, so that a daemon's death closes none.

    Router workers have one each (SO_REUSEPORT). `shared` says that workers of this home still serve on the
    address; otherwise a plain bind first makes sure that nobody else does.
    """

    def __init__(self, settings: Settings, *, shared: bool) -> None:
        self.http = _shared_port("--http", settings.http, settings.router_workers, alone=not shared)
        self.https = _shared_port("--https", settings.https, settings.router_workers, alone=not shared)
        self.ssh = _bind("--ssh", settings.ssh, reuse_port=False)
        self.api = _bind("--api", settings.api, reuse_port=False)


def _shared_port(flag: str, address: Address | None, count: int, *, alone: bool) -> list[socket.socket]:
    if address is None:
        return []
    if alone:
        _bind(flag, address, reuse_port=False).close()
    return [_bind(flag, address, reuse_port=True) for _ in range(count)]


def _bind(flag: str, address: Address, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((address.host, address.port))
        sock.listen(4096)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"{address} is in use by another program.", f"Choose another with {flag}."
            ) from error
        raise Unavailable(
            f"{address} cannot be listened on: {error.strerror}.", f"Choose another with {flag}."
        ) from error
    return sock


def _daemons(settings: Settings, layout: Layout, settings_file: Path, listeners: _Listeners) -> list[Daemon]:
    control = accounts.account(accounts.CONTROL)
    flags = ["--settings", str(settings_file)]
    writable = [layout.database.parent, layout.images, layout.builds, layout.logs, layout.sources]
    writable += [layout.edge, layout.secrets / "certificates"]
    api_view = _view(layout, writable, [path for path in [settings.acme_ca] if path])
    git_view = _view(layout, [layout.repos, layout.sources, layout.secrets / "ssh"])
    git = accounts.account(accounts.GIT)
    lent = _lend(layout, "git", git)
    daemons = [
        Daemon(
            "converge",
            control.name,
            str(layout.converge_socket),
            _starter(["-m", "paas.converge", *flags], control, api_view),
            _answers(layout.converge_socket),
        ),
        Daemon(
            "api",
            control.name,
            f"http://{settings.api} and {layout.api_socket}",
            _starter(
                ["-m", "paas.api.serve", *flags, "--listen-fd", str(listeners.api.fileno())],
                control,
                api_view,
                keep=[listeners.api.fileno()],
            ),
            lambda pid: _asked(layout.api_socket),
        ),
        Daemon(
            "git",
            accounts.GIT,
            f"ssh://{settings.ssh}",
            _starter(
                ["-m", "paas.ssh", *flags, "--listen-fd", str(listeners.ssh.fileno())]
                + [word for path in lent.work for word in ("--group", str(path))],
                git,
                git_view,
                keep=[listeners.ssh.fileno()],
                groups=lent.daemon,
            ),
            _answers(layout.git_socket),
        ),
    ]
    routers = [_router(settings, layout, number, listeners) for number in range(settings.router_workers)]
    return [*daemons, *routers, _spawner(settings, layout)]


def _lend(layout: Layout, name: str, account: accounts.Account) -> cgroup.Lent:
    """Control groups that a daemon without privileges puts its children into."""
    try:
        groups = cgroup.detect(layout.id)
        return groups.lend(name, cgroup.work_limits(), account.uid, account.gid)
    except (cgroup.CgroupError, OSError) as error:
        raise Unavailable(f"Control groups cannot be made: {error}", "See: paas doctor") from error


def _spawner(settings: Settings, layout: Layout) -> Daemon:
    """Started last: asking the package tools what builds may bind takes as long as the others take to start."""
    binds: list[str] = []

    def start() -> int:
        if not binds:
            group_id = accounts.account(accounts.CONTROL).gid
            for path in publish.host_binds(settings, group_id=group_id):
                binds.extend(("--allow-bind", path))
        argv = [
            "-m",
            "runtime.spawner.server",
            "--home",
            str(layout.home),
            "--stacks",
            str(layout.stacks),
            *binds,
        ]
        return _starter(argv, None, None)()

    socket_path = layout.spawner_socket
    return Daemon("spawner", "root", str(socket_path), start, lambda pid: _spawns(socket_path))


def _router(settings: Settings, layout: Layout, index: int, listeners: _Listeners) -> Daemon:
    plain, secure = listeners.http[index].fileno(), [sock.fileno() for sock in listeners.https[index:][:1]]
    argv = [
        "-m",
        "router",
        "--worker",
        str(index + 1),
        "--listen-fd",
        str(plain),
        "--domain",
        settings.domain,
    ]
    argv += [word for fd in secure for word in ("--tls-listen-fd", str(fd))]
    argv += ["--control", str(layout.router_control), "--table", str(layout.router / "table.json")]
    argv += ["--log-dir", str(layout.logs / "router"), "--files", str(layout.edge)]
    argv += ["--drain", str(settings.drain_timeout_s)]
    argv += [word for network in settings.trust for word in ("--trust", str(network))]
    argv += [word for network in settings.proxy_protocol for word in ("--proxy-protocol", str(network))]
    argv += ["--client-connections", str(settings.client_connections)]
    view = _view(layout, [layout.router, layout.logs / "router"], [layout.edge])
    user = accounts.account(accounts.ROUTER)
    start = _starter(argv, user, view, keep=[plain, *secure], die_with_parent=False)
    return Daemon(
        f"router.{index + 1}",
        user.name,
        f"http://{settings.http}" + (f" and https://{settings.https}" if secure else ""),
        start,
        partial(workers.up_to_date, layout.router_control),
        renewable=True,
    )


def _view(layout: Layout, writable: list[Path], read_only: list[Path] | None = None) -> launch.View:
    shown = (*launch.code_paths(), *(read_only or []))
    return launch.View(hidden=(layout.home,), read_only=shown, writable=tuple(writable))


def _starter(
    arguments: list[str],
    account: accounts.Account | None,
    view: launch.View | None,
    *,
    keep: list[int] | None = None,
    groups: Sequence[Path] = (),
    die_with_parent: bool = True,
) -> Callable[[], int]:
    return partial(
        launch.start,
        [sys.executable, "-P", *arguments],
        account or accounts.Account("root", 0, 0),
        view,
        environ=_environ(),
        keep=keep or [],
        groups=groups,
        die_with_parent=die_with_parent,
    )


def _environ() -> dict[str, str]:
    """Daemons get a fixed environment, and the operator's registry settings nowhere but in settings files."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _answers(path: Path) -> Callable[[int], bool]:
    """Whether somebody listens for datagrams there: a dead daemon's socket refuses."""
    return lambda pid: _listens(path)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True


def _asked(path: Path) -> bool:
    """Whether the api answers a request."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
        sock.settimeout(ASKED_S)
        sock.connect(str(path))
        sock.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return sock.recv(5) == b"HTTP/"
    return False


def _spawns(path: Path) -> bool:
    with contextlib.suppress(SpawnerError):
        return bool(Spawner(path).call("info", timeout_s=ASKED_S))
    return False


def _stop(supervisor: Supervisor, settings: Settings, layout: Layout, stop_apps: bool) -> None:
    _say(
        "stopping the platform" if stop_apps else "stopping the control plane; apps and router workers run on"
    )
    supervisor.stop(("git", "api", "converge"))
    if stop_apps:
        _stop_instances(layout, settings.stop_timeout_s)
        supervisor.stop(("router",))
    supervisor.stop(("spawner",))
    layout.converge_socket.unlink(missing_ok=True)


def _stop_instances(layout: Layout, grace_s: float) -> None:
    spawner = Spawner(layout.spawner_socket)
    try:
        running = [item.id for item in spawner.list() if item.state == "running"]
        for identity in running:
            spawner.signal(identity, "TERM", all=True)
        deadline = time.monotonic() + grace_s
        while running and time.monotonic() < deadline:
            running = [item.id for item in spawner.list() if item.state == "running"]
            time.sleep(0.05)
        for item in spawner.list():
            spawner.delete(item.id)
    except (SpawnerError, OSError) as error:
        _say(f"the apps could not all be stopped: {error}")
