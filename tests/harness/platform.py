"""A real platform for a test: its own home, ports, keys and repositories, driven with the real clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAAS = Path(sys.executable).parent / "paas"
STACKS = Path(os.environ.get("PAAS_TEST_STACKS", "/var/cache/paas/stacks"))


_CLAIMS: list[socket.socket] = []


def free_port() -> int:
    """A port that stays this process's: no other run of tests gets it (an abstract socket claims it), and no connection
    on its way out, which takes one of `ip_local_port_range`."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port, claim = random.randrange(lowest // 2, lowest), socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError), socket.socket() as sock:
            claim.bind(f"\0paas-test-port-{port}")
            sock.bind(("127.0.0.1", port))
            _CLAIMS.append(claim)
            return port
        claim.close()


@dataclass
class Answer:
    """An HTTP answer as a visitor sees it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class Platform:
    """One running `paas server`. Everything lies in `folder`; `close` leaves nothing behind."""

    def __init__(
        self, folder: Path | None = None, *, program: Path = PAAS, stacks: Path = STACKS, **settings: str
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="paas-test-"))
        self.home = self.folder / "home"
        self.http, self.https, self.ssh, self.api = (free_port() for _ in range(4))
        self.settings = settings
        self.program = program
        self.stacks = stacks
        self.process: subprocess.Popen[bytes] | None = None
        self.key = self.folder / "key"

    # the server

    def start(self) -> Platform:
        position = self.begin()
        wait_for(
            lambda: b"ready in" in self.log_path.read_bytes()[position:] or self.ended(),
            60,
        )
        assert not self.ended(), self.log_path.read_text(errors="replace")
        return self

    def ended(self) -> bool:
        """Whether the server does not run (any more)."""
        return self.process is None or self.process.poll() is not None

    def begin(self, **environ: str) -> int:
        """Start the server without waiting for it; where in its log its lines begin."""
        command = [str(self.program), "server", "--home", str(self.home), "--stacks", str(self.stacks)]
        for name in ("http", "https", "ssh", "api"):
            if name not in self.settings:
                command += [f"--{name}", f"127.0.0.1:{getattr(self, name)}"]
        environ = {
            **os.environ,
            "PAAS_MEMORY_OVERCOMMIT": "100",  # small machines run the suite, too
            **{f"PAAS_BUILDS_{name}_PRESSURE": "100" for name in ("CPU", "MEMORY", "IO")},  # busy ones do
            **environ,
            **{f"PAAS_{name.upper()}": value for name, value in self.settings.items()},
        }
        log = self.log_path.open("ab")
        position = log.tell()
        with log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environ, start_new_session=True
            )
        return position

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    @property
    def id(self) -> str:
        return (self.home / "id").read_text().strip()

    @property
    def run_folder(self) -> Path:
        return Path("/run/paas") / self.id

    def status(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.run_folder / "status.json").read_text())
        return data

    def pid_of(self, daemon: str) -> int:
        return next(item["pid"] for item in self.status()["daemons"] if item["name"] == daemon)

    def running_pid(self, daemon: str) -> int:
        """The daemon's pid once it runs; never 0, which kill(2) takes for the caller's own process group."""
        pid: int = wait_for(lambda: self.pid_of(daemon))
        return pid

    def interrupt(self) -> None:
        """What Ctrl-C does: the control plane stops, apps go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def kill(self) -> None:
        """`kill -9` of the supervisor, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def processes(self) -> list[int]:
        """Every process of this platform: daemons, shims and what runs in containers."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes() + (entry / "cgroup").read_bytes()
                if (
                    f"paas-{self.id}".encode() in line
                    or str(self.home).encode() in line
                    or f"/run/paas/{self.id}".encode() in line
                ):
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Stop everything that was started and remove every trace."""
        if self.process is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        if self.process.poll() is not None:
            self.start()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
        subprocess.run(
            [str(self.program), "server:uninstall", "--home", str(self.home), "--confirm", str(self.home)],
            check=True,
            capture_output=True,
        )
        shutil.rmtree(self.folder)

    # clients

    def environ(self, **extra: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PAAS_")}
        return {**clean, "PAAS_HOME": str(self.home), "GIT_SSH_COMMAND": " ".join(self.ssh_words()), **extra}

    def paas(self, *words: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a CLI command through the unix socket."""
        options.setdefault("timeout", 120)
        options.setdefault("cwd", self.folder)
        options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
        if options["stdin"] is None:
            del options["stdin"]
        done = subprocess.run(
            [str(self.program), *words],
            capture_output=True,
            text=True,
            env=self.environ(),
            check=False,
            **options,
        )
        assert not check or done.returncode == 0, (
            f"paas {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def json(self, *words: str) -> Any:
        return json.loads(self.paas(*words, "--json").stdout)

    def make_key(self, user: str = "tester", path: Path | None = None) -> Path:
        """A fresh ed25519 key, registered for the user."""
        path = path or self.key
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", user, "-f", str(path)], check=True
        )
        self.paas("keys:add", "--name", user, f"{path}.pub")
        return path

    def ssh_words(self, key: Path | None = None) -> list[str]:
        hosts = self.folder / "known_hosts"
        options = [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={hosts}",
        ]
        words = ["ssh", "-F", "none", "-i", str(key or self.key)]
        for option in options:
            words += ["-o", option]
        return words

    def over_ssh(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`ssh paas@host WORDS`: the commands with no client."""
        command = [*self.ssh_words(), "-p", str(self.ssh), "paas@127.0.0.1", *words]
        options.setdefault("timeout", 60)
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)

    def repository(self, source: str | dict[str, str], name: str | None = None) -> Path:
        """A git repository made of a folder of this project (`examples/hello`) or of given files."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name or 'app'}-", dir=self.folder)) / "repo"
        if isinstance(source, str):
            shutil.copytree(ROOT / source, folder)
        else:
            for path, text in source.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
        git(folder, "init", "-q", "-b", "main")
        commit(folder, "First version")
        return folder

    def push(
        self, repository: Path, app: str, refspec: str = "main", *options: str, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """`git push` to the app with the real client; stdout and stderr joined in `stdout`."""
        url = f"ssh://paas@127.0.0.1:{self.ssh}/{app}"
        return subprocess.run(
            ["git", "push", *options, url, refspec],
            cwd=repository,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def deploy(self, source: str | dict[str, str], app: str) -> Path:
        """Push a new app and insist that it went live; its repository."""
        repository = self.repository(source, app)
        done = self.push(repository, app)
        assert done.returncode == 0, done.stdout
        return repository

    def get(self, app: str, path: str = "/", *, timeout: float = 30, host: str = "") -> Answer:
        """What a visitor of the app sees through the router."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": host or f"{app}.localhost:{self.http}"})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def git(repository: Path, *words: str) -> str:
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=repository, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(repository: Path, message: str, **files: str) -> str:
    """Write the files, commit everything, and return the commit's id."""
    for path, text in files.items():
        (repository / path).write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--allow-empty", "-m", message)
    return git(repository, "rev-parse", "HEAD")


def wait_for(condition: Any, timeout_s: float = 30.0, pause_s: float = 0.02) -> Any:
    """The first true value of the condition; fails when it does not come."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"nothing after {timeout_s} s"
        time.sleep(pause_s)


def traces(folder: Path, word: str) -> list[str]:
    """Every path below the folder whose last part contains the word; folders may vanish meanwhile."""
    found = []
    for parent, folders, files in os.walk(folder):
        found += [f"{parent}/{name}" for name in [*folders, *files] if word in name]
    return found
