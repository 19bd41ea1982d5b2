"""The git daemon for real (its user, its processes), and people with a key, a working tree, git and ssh."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.enter import command_as
from harness.git_api import Api, Handler, Platform
from paas.host import accounts
from paas.keys.publickey import parse
from paas.nouns.settings import Settings, load


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that the daemon's user may enter."""
    accounts.ensure_accounts()
    path = Path(tempfile.mkdtemp(prefix="paas-git-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class GitDaemon:
    """A running daemon with its platform; `restart` kills it as it is."""

    def __init__(self, root: Path, program: tuple[str, ...] = ("-m", "paas.ssh"), **settings: Any) -> None:
        self.root = root
        self.program = program
        self.platform = Platform(root)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.settings = self._settings(settings)
        self.layout = self.settings.layout()
        try:
            self._folders()
            self._api = self._serve_api()
            self.process = self._start()
        except BaseException:
            shutil.rmtree(self.layout.run, ignore_errors=True)
            raise

    def _serve_api(self) -> Api:
        handler = type("Handler", (Handler,), {"platform": self.platform})
        api = Api(str(self.layout.api_socket), handler)
        self.layout.api_socket.chmod(0o666)
        threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return api

    def _settings(self, changes: dict[str, Any]) -> Settings:
        settings = load({"home": str(self.root / "home"), "stacks": str(self.root / "stacks")}, {})
        identity = os.urandom(3).hex()
        (self.root / "home").mkdir()
        (self.root / "home" / "id").write_text(identity)
        return replace(settings, id=identity, **changes)

    def _folders(self) -> None:
        git = pwd.getpwnam(accounts.GIT)
        poke = self.layout.git_socket.parent
        for path in (self.layout.repos, self.layout.sources, self.layout.secrets / "ssh", poke):
            path.mkdir(parents=True, mode=0o755)
            os.chown(path, git.pw_uid, git.pw_gid)
        self.layout.api_socket.parent.mkdir(parents=True)
        (self.root / "settings.json").write_text(json.dumps(self.settings.to_json()))

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self.listener.fileno()
        command = [sys.executable, "-P", *self.program, "--settings", str(self.root / "settings.json")]
        return subprocess.Popen(
            [*command_as(accounts.GIT, self.root, self.layout.run), *command, "--listen-fd", str(descriptor)],
            pass_fds=[descriptor],
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

    def stop_api(self) -> None:
        self._api.shutdown()
        self._api.server_close()
        self.layout.api_socket.unlink()

    def start_api(self) -> None:
        self._api = self._serve_api()

    def memory_bytes(self) -> int:
        """Resident memory of the accept loop."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

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
            public = parse(self.key.with_suffix(".pub").read_text())
            daemon.platform.keys[public.fingerprint] = user, public.text
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
        """A new repository with one commit and the remote `paas`."""
        self.tree = self.folder / "tree"
        if self.tree.exists():
            shutil.rmtree(self.tree)
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


def family(pid: int) -> list[int]:
    """A process and all below it, itself first."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}

    def is_below(child: int) -> bool:
        while child in parents and child != pid:
            child = parents[child]
        return child == pid

    return [pid, *(child for child in sorted(parents) if child != pid and is_below(child))]


def runs(pid: int) -> bool:
    """True unless the process has ended; one that waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pkt(line: bytes) -> bytes:
    """One pkt-line of git's protocol."""
    return b"%04x" % (len(line) + 4) + line


class RawPush:
    """`git-receive-pack` driven by hand, for what the git client would never send."""

    CAPABILITIES = b"report-status side-band-64k object-format=sha1 agent=test"

    def __init__(self, client: Client, app: str = "hello") -> None:
        command = [
            *client.ssh_words,
            "-p",
            str(client.daemon.port),
            "paas@127.0.0.1",
            f"git-receive-pack '/{app}'",
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.refs = self._advertised()

    def _line(self) -> bytes | None:
        assert self._process.stdout is not None
        head = self._process.stdout.read(4)
        return self._process.stdout.read(int(head, 16) - 4) if int(head or b"0", 16) else None

    def _advertised(self) -> dict[bytes, bytes]:
        refs = {}
        while (line := self._line()) is not None:
            oid, _, name = line.split(b"\0")[0].strip().partition(b" ")
            refs[name] = oid
        return refs

    def send(self, commands: list[tuple[str, str, bytes]], pack: bytes) -> tuple[str, str]:
        """Push; what git is told (the report) and what the person reads."""
        data = bytearray()
        for number, (old, new, ref) in enumerate(commands):
            tail = b"\0" + self.CAPABILITIES if number == 0 else b""
            data += pkt(f"{old} {new} ".encode() + ref + tail)
        return self.send_bytes(bytes(data) + b"0000" + pack)

    def send_plain(self, data: bytes) -> tuple[bytes, bytes]:
        """What comes back on stdout and stderr."""
        try:
            return self._process.communicate(data, timeout=60)
        except BrokenPipeError:
            return self._process.communicate(timeout=60)

    def send_bytes(self, data: bytes) -> tuple[str, str]:
        out, err = self.send_plain(data)
        report, read = b"", err
        while len(out) > 4 and (size := int(out[:4], 16)):
            band, body, out = out[4], out[5:size], out[size:]
            report, read = (report + body, read) if band == 1 else (report, read + body)
        return report.decode("utf-8", "replace"), read.decode("utf-8", "replace")
