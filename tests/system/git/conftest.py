"""The git daemon for real (its user, its processes, real git and ssh clients) before an api of the test's own.

The api stand-in speaks the api's contract over its unix socket and keeps state, so that a test decides how a
deployment goes without a build; the whole platform together is tested elsewhere.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from paas import accounts
from paas.errors import Conflict, Forbidden, NotFound, PaasError
from paas.settings import Settings, load

Emit = Callable[[dict[str, Any]], None]


@dataclass
class Deploying:
    """One push as the api sees it."""

    app: str
    user: str
    request: dict[str, Any]
    source: dict[str, Any]
    tar: bytes
    emit: Emit
    hung_up: Callable[[], bool]


def succeeds(push: Deploying) -> dict[str, Any]:
    push.emit({"line": f"-----> Building {push.app} from {push.request['commit'][:7]}"})
    return {"result": {"release": 1}}


@dataclass
class Platform:
    """Users, apps and how deployments go. `deploy` answers the last message of the stream."""

    root: Path
    keys: dict[str, str] = field(default_factory=dict)
    apps: dict[str, dict[str, Any]] = field(default_factory=dict)
    pushes: list[Deploying] = field(default_factory=list)
    deploy: Callable[[Deploying], dict[str, Any]] = succeeds

    def app(self, name: str, owner: str = "ann", branch: str = "main") -> dict[str, Any]:
        number = len(self.apps) + 1
        branches = ["main", "master"] if branch == "main" else [branch]
        app = {"id": f"a{number:010x}", "name": name, "owner": owner, "deploy_branch": branch}
        return self.apps.setdefault(
            name, {**app, "branches": branches, "live_commit": None, "may_push": True}
        )

    def visible(self, name: str, user: str | None) -> dict[str, Any]:
        app = self.apps.get(name)
        if app is None or app["owner"] != user:
            raise NotFound("There is no app with this name.", "See: paas apps")
        return app


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    platform: Platform

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, work: Callable[[list[str], str | None], dict[str, Any] | None]) -> None:
        parts = [unquote(part) for part in self.path.strip("/").split("/")[1:]]
        try:
            body = work(parts, self.headers.get("X-Paas-User"))
        except PaasError as error:
            self._send(error.http_status, {"error": error.to_json()})
        else:
            if body is not None:
                self._send(200, body)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _get(self, parts: list[str], user: str | None) -> dict[str, Any]:
        if parts[0] == "keys":
            if parts[1] not in self.platform.keys:
                raise NotFound("Nobody has this key.")
            return {"user": self.platform.keys[parts[1]]}
        if parts == ["git"]:
            return {"apps": [app["id"] for app in self.platform.apps.values()]}
        return self.platform.visible(parts[1], user)

    def _post(self, parts: list[str], user: str | None) -> dict[str, Any] | None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if parts[0] == "git":
            existing = self.platform.apps.get(parts[1])
            if existing is not None and existing["owner"] != user:
                raise Conflict(f"The name {parts[1]} is taken.")
            if user == "guest":
                raise Forbidden("guest may not create apps.")
            return self.platform.app(parts[1], str(user))
        self._stream(self.platform.visible(parts[1], user), str(user), request)
        return None

    def _stream(self, app: dict[str, Any], user: str, request: dict[str, Any]) -> None:
        source = self.platform.root / "home" / "sources" / request["tree"]
        push = Deploying(
            app["name"],
            user,
            request,
            json.loads(source.with_suffix(".json").read_text()),
            source.with_suffix(".tar").read_bytes(),
            self._emit,
            self._hung_up,
        )
        self.platform.pushes.append(push)
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            last = self.platform.deploy(push)
            if "error" not in last:
                app["live_commit"] = request["commit"]
            self._emit({"done": True, **last})
        except OSError:
            pass

    def _emit(self, message: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(message).encode() + b"\n")

    def _hung_up(self) -> bool:
        ready, _, _ = select.select([self.connection], [], [], 0)
        return bool(ready) and self.connection.recv(1, socket.MSG_PEEK) == b""


class _Api(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class GitDaemon:
    """A running daemon with its platform; `restart` kills it as it is."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.platform = Platform(root)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.settings = self._settings(settings)
        self.layout = self.settings.layout()
        self._folders()
        handler = type("Handler", (_Handler,), {"platform": self.platform})
        self._api = _Api(str(self.layout.api_socket), handler)
        self.layout.api_socket.chmod(0o666)
        threading.Thread(target=self._api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.process = self._start()

    def _settings(self, changes: dict[str, Any]) -> Settings:
        settings = load({"home": str(self.root / "home"), "stacks": str(self.root / "stacks")}, {})
        identity = os.urandom(3).hex()
        (self.root / "home").mkdir()
        (self.root / "home" / "id").write_text(identity)
        return replace(settings, id=identity, **changes)

    def _folders(self) -> None:
        git = pwd.getpwnam(accounts.GIT)
        for path in (self.layout.repos, self.layout.sources, self.layout.secrets / "ssh"):
            path.mkdir(parents=True, mode=0o755)
            os.chown(path, git.pw_uid, git.pw_gid)
        self.layout.api_socket.parent.mkdir(parents=True)
        (self.root / "settings.json").write_text(json.dumps(self.settings.to_json()))

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self.listener.fileno()
        command = [sys.executable, "-P", "-m", "paas.git", "--settings", str(self.root / "settings.json")]
        return subprocess.Popen(
            [*command, "--listen-fd", str(descriptor)],
            pass_fds=[descriptor],
            user=accounts.GIT,
            group=accounts.GIT,
            extra_groups=[],
            umask=0o007,
            stderr=open(self.root / "git.log", "ab"),
            cwd="/",
        )

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._api.shutdown()
        self._api.server_close()
        self.listener.close()
        shutil.rmtree(self.layout.run)

    def log(self) -> str:
        return (self.root / "git.log").read_text()

    def repository(self, name: str) -> Path:
        return Path(self.layout.repos, f"{self.platform.apps[name]['id']}.git")

    def left_overs(self) -> list[str]:
        """What a push must not leave: quarantines and sources."""
        incoming = self.layout.repos / "incoming"
        left = sorted(os.listdir(incoming)) if incoming.is_dir() else []
        return left + sorted(os.listdir(self.layout.sources))

    def settled(self, seconds: float = 20) -> bool:
        """Wait until nothing is left over."""
        deadline = time.monotonic() + seconds
        while self.left_overs() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.left_overs()


class Client:
    """Somebody with a key, a working tree, git and ssh."""

    def __init__(self, daemon: GitDaemon, folder: Path, user: str | None, kind: str = "ed25519") -> None:
        self.daemon = daemon
        self.folder = folder
        folder.mkdir()
        self.key = folder / "key"
        keygen = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(self.key), "-C", user or "nobody"]
        subprocess.run(keygen, check=True)
        if user is not None:
            shown = subprocess.run(
                ["ssh-keygen", "-lf", self.key], capture_output=True, text=True, check=True
            )
            daemon.platform.keys[shown.stdout.split()[1]] = user
        self.tree = folder / "tree"

    @property
    def ssh_words(self) -> list[str]:
        options = {
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "StrictHostKeyChecking": "accept-new",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        words = ["ssh", "-F", "none", "-i", str(self.key)]
        return words + [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def ssh(
        self, *words: str, options: tuple[str, ...] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        command = [*self.ssh_words, *options, "-p", str(self.daemon.port), "paas@127.0.0.1", *words]
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)

    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_SSH_COMMAND": " ".join(self.ssh_words),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ann",
            "GIT_AUTHOR_EMAIL": "ann@example.com",
            "GIT_COMMITTER_NAME": "Ann",
            "GIT_COMMITTER_EMAIL": "ann@example.com",
            "LC_ALL": "C.UTF-8",
        }

    def git(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        folder = self.tree if self.tree.exists() else self.folder
        return subprocess.run(
            ["git", *words],
            cwd=folder,
            env=self.environ(),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            check=check,
            **more,
        )

    def url(self, app: str) -> str:
        return f"ssh://paas@127.0.0.1:{self.daemon.port}/{app}"

    def start_tree(self, app: str = "hello") -> None:
        """A repository with one commit and the remote `paas`."""
        self.tree.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "paas", self.url(app))
        (self.tree / "app.py").write_text("print('hello')\n")
        self.commit("first")

    def commit(self, message: str = "more") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.git("push", *(words or ("paas", "main")), check=False)

    def start_push(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["git", "push", *(words or ("paas", "main"))],
            cwd=self.tree,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that the daemon's user may enter."""
    accounts.ensure_accounts()
    path = Path(tempfile.mkdtemp(prefix="paas-git-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(root: Path) -> Iterator[GitDaemon]:
    running = GitDaemon(root)
    yield running
    running.close()


@pytest.fixture
def make_daemon(root: Path) -> Iterator[Callable[..., GitDaemon]]:
    """A daemon with settings of one's own."""
    running: list[GitDaemon] = []

    def make(**settings: Any) -> GitDaemon:
        running.append(GitDaemon(root, **settings))
        return running[-1]

    yield make
    for each in running:
        each.close()


@pytest.fixture
def ann(daemon: GitDaemon, root: Path) -> Client:
    """The owner of what she makes, with a working tree."""
    client = Client(daemon, root / "ann", "ann")
    client.start_tree()
    return client
