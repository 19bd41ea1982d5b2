"""The spawner: root, single-threaded, the only process that makes containers. `python -P -m runtime.spawner.server`.

It serves one unix socket to root and the control plane's user, and knows nothing of apps. It may be killed at any
moment: containers run on under their shims, and the next spawner adopts them.
"""

from __future__ import annotations

import gc
import os
import pwd
import resource
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime import cgroup
from runtime.container import init
from runtime.container.engine import ContainerError, Engine
from runtime.frames import FrameError, JsonDecoder, encode_json
from runtime.home import Layout
from runtime.kernel import files, process, seccomp_apps
from runtime.kernel import syscalls as sc
from runtime.kernel.forked import log_lines
from runtime.kernel.userns import UserNamespaces
from runtime.net import upkeep
from runtime.net.network import Network, NetworkError, RulesError, host_routes
from runtime.reactor import Reactor
from runtime.spawner import idblocks, verbs
from runtime.spawner.instances import Instances
from runtime.spawner.jobs import Jobs, failure
from runtime.spec import SpecError

_MOST_UNSENT = 8 * 1024 * 1024
_READ_BYTES, _SEND_BYTES, _BACKLOG = 64 * 1024, 256 * 1024, 128


class StartError(Exception):
    """The spawner cannot start; the message says what is missing."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    home: Path
    stacks: Path
    allow_bind: tuple[Path, ...] = ()
    user: str = "paas"

    @classmethod
    def parse(cls, words: list[str]) -> Options:
        """Raises StartError."""
        known: dict[str, list[str]] = {"--home": [], "--stacks": [], "--allow-bind": [], "--user": []}
        for name, value in zip(words[::2], words[1::2], strict=False):
            if name not in known:
                raise StartError(f"unknown option {name}; known: {', '.join(known)}")
            known[name].append(value)
        if len(words) % 2 or not known["--home"] or not known["--stacks"]:
            raise StartError("usage: --home DIR --stacks DIR [--allow-bind PATH]… [--user NAME]")
        return cls(
            home=Path(known["--home"][-1]).absolute(),
            stacks=Path(known["--stacks"][-1]).absolute(),
            allow_bind=tuple(Path(path).resolve() for path in known["--allow-bind"]),
            user=(known["--user"] or ["paas"])[-1],
        )


@dataclass
class _Connection:
    sock: socket.socket
    decoder: JsonDecoder = field(default_factory=JsonDecoder)
    out: bytearray = field(default_factory=bytearray)
    watching: bool = False
    closed: bool = False


class Server:
    """The socket and its connections. Requests of one connection are answered in order."""

    def __init__(self, reactor: Reactor, listener: socket.socket, users: set[int]) -> None:
        self._reactor = reactor
        self._listener = listener
        self._users = users
        self._connections: dict[int, _Connection] = {}
        self.verbs: verbs.Verbs | None = None

    def start(self) -> None:
        self._listener.setblocking(False)
        self._reactor.watch(self._listener.fileno(), lambda _: self._accept())

    def event(self, kind: str, instance_id: str) -> None:
        for connection in list(self._connections.values()):
            if connection.watching:
                self._send(connection, {"event": kind, "id": instance_id})

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            sock, _ = self._listener.accept()
            if process.peer_uid(sock) not in self._users:
                sock.close()
                return
            sock.setblocking(False)
            connection = _Connection(sock)
            self._connections[sock.fileno()] = connection
            self._reactor.watch(sock.fileno(), lambda events: self._ready(connection, events))

    def _ready(self, connection: _Connection, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush(connection)
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) and not connection.closed:
            try:
                data = connection.sock.recv(_READ_BYTES)
                messages = connection.decoder.feed(data)
            except BlockingIOError:
                return
            except (OSError, FrameError):
                data, messages = b"", []
            for message in messages:
                self._request(connection, message)
            if not data:
                self._close(connection)

    def _request(self, connection: _Connection, message: Any) -> None:
        assert self.verbs is not None
        if isinstance(message, dict) and message.get("verb") == "watch":
            connection.watching = True
            self._send(connection, {"ok": True})
            return
        try:
            self.verbs.handle(message, lambda answer: self._send(connection, answer))
        except ContainerError as error:
            self._send(connection, failure(error.code, error.message, error.hint))
        except SpecError as error:
            self._send(connection, failure("bad_spec", str(error)))
        except (OSError, cgroup.CgroupError, NetworkError, RulesError) as error:
            self._send(connection, failure("failed", str(error)))
        except Exception:
            log_lines(traceback.format_exc().splitlines())
            self._send(connection, failure("internal", "internal error of the spawner; see its output"))

    def _send(self, connection: _Connection, message: dict[str, Any]) -> None:
        if connection.closed:
            return
        try:
            connection.out += encode_json(message)
        except FrameError as error:
            connection.out += encode_json(failure("too_long", str(error)))
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        try:
            while connection.out:
                del connection.out[: connection.sock.send(memoryview(connection.out)[:_SEND_BYTES])]
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)
            return
        if len(connection.out) > _MOST_UNSENT:
            self._close(connection)
            return
        events = select.EPOLLIN | (select.EPOLLOUT if connection.out else 0)
        self._reactor.watch(connection.sock.fileno(), lambda events: self._ready(connection, events), events)

    def _close(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.closed = True
            self._reactor.forget(connection.sock.fileno())
            del self._connections[connection.sock.fileno()]
            connection.sock.close()


def run(options: Options) -> None:
    """Serve for ever. Raises StartError."""
    layout = _layout(options)
    block = idblocks.claim(layout, routes=host_routes())
    _prepare_folders(options, layout)
    lock = _lock(layout)
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount("none", "/", None, sc.MS_REC | sc.MS_SLAVE)
    user = _account(options.user)
    engine, network = _engine(options, layout, user, block)
    reactor = Reactor()
    server = Server(reactor, _listen(layout, user.pw_gid), {0, user.pw_uid})
    instances = Instances(engine, reactor, server.event)
    lent = engine.cgroups.lend("layers", cgroup.work_limits(), 0, 0)
    server.verbs = verbs.Verbs(engine, instances, Jobs(reactor, lent.work), block, reactor)
    adopted = instances.recover()
    upkeep.keep_rules(reactor, network)
    upkeep.keep_relay(reactor, network)
    server.start()
    server.verbs.empty_trash()
    server.verbs.repair_layers()
    gc.collect()
    gc.freeze()
    ready = f"spawner ready home={layout.home} id={layout.id} adopted={len(adopted)}"
    print(ready, file=sys.stderr, flush=True)
    while lock >= 0:
        reactor.turn()


def _engine(
    options: Options, layout: Layout, user: pwd.struct_passwd, block: idblocks.Block
) -> tuple[Engine, Network]:
    log = _account("paas-log")
    neighbours = tuple(other for other in idblocks.networks() if other != block.network)
    network = Network(layout.id, block.network, refused=neighbours)
    network.prepare()
    engine = Engine(
        layout=layout,
        cgroups=cgroup.detect(layout.id),
        network=network,
        userns=UserNamespaces(),
        init_fd=init.open_program("init"),
        start_fd=init.open_program("start"),
        seccomp=seccomp_apps.compile_filter(),
        stage=_make(layout.run / "stage", 0, 0o700),
        boot_id=process.boot_id(),
        log_user=log.pw_uid,
        log_group=log.pw_gid,
        attach_group=user.pw_gid,
        allow_bind=options.allow_bind,
    )
    return engine, network


def _layout(options: Options) -> Layout:
    try:
        identity = (options.home / "id").read_text().strip()
    except OSError as error:
        raise StartError(f"{options.home / 'id'}: {error.strerror}; the server makes it") from error
    return Layout(options.home, options.stacks, identity)


def _prepare_folders(options: Options, layout: Layout) -> None:
    group = _account(options.user).pw_gid
    _make(layout.run.parent, 0, 0o755)
    _make(layout.run, 0, 0o755)
    _make(layout.spawner_socket.parent, group, 0o750)
    _make(layout.run_instances, group, 0o750)
    for folder in (layout.layers, layout.instances, layout.volumes, layout.caches):
        _make(folder, 0, 0o700)
    _make(layout.logs, 0, 0o755)
    # base layers hold world-writable folders (/var/tmp), so only root and the control plane may reach them
    _make(layout.stacks / "layers", group, 0o710)


def _make(path: Path, group: int, mode: int) -> Path:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    os.chown(path, 0, group)
    path.chmod(mode)
    return path


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise StartError(f"there is no user {name}; make it with: useradd --system {name}") from None


def _lock(layout: Layout) -> int:
    try:
        return files.lock(layout.spawner_socket.parent / "lock", wait=False)
    except BlockingIOError:
        raise StartError(f"another spawner runs for {layout.home}") from None


def _listen(layout: Layout, group: int) -> socket.socket:
    path = layout.spawner_socket
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(path))
    os.chown(path, 0, group)
    path.chmod(0o660)
    listener.listen(_BACKLOG)
    return listener


def main(words: list[str] | None = None) -> int:
    """The command line; the exit status."""
    os.umask(0o022)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # several are open for each container
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        run(Options.parse(sys.argv[1:] if words is None else words))
    except (StartError, idblocks.BlockError, cgroup.CgroupError, NetworkError, RulesError, OSError) as error:
        print(f"spawner: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
