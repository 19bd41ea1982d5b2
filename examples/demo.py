"""`make demo`: the platform from nothing to a pushed app, with the real git, ssh and curl, on loopback.

Everything it makes lies in one temporary folder; neither ~/.ssh nor its known_hosts is touched.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAAS = Path(sys.executable).parent / "paas"
WANTED = {"http": 8080, "https": 8443, "ssh": 2222, "api": 8081}


def free_port(preferred: int) -> int:
    """The preferred port of the loopback address, or any free one if it is taken."""
    for port in (preferred, 0):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise SystemExit("no free port on 127.0.0.1")


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def run(command: list[str], environ: dict[str, str], cwd: Path | None = None) -> None:
    print("$ " + " ".join(Path(word).name if word == str(PAAS) else word for word in command), flush=True)
    status = subprocess.run(command, env=environ, cwd=cwd, check=False).returncode
    if status:
        raise SystemExit(f"demo: {command[0]} ended with status {status}")


def choose_ports() -> dict[str, int]:
    ports = {name: free_port(preferred) for name, preferred in WANTED.items()}
    for name, port in ports.items():
        if port != WANTED[name]:
            print(f"127.0.0.1:{WANTED[name]} is busy, {name} listens on 127.0.0.1:{port}", flush=True)
    return ports


def start(home: Path, ports: dict[str, int], stacks: str, log: Path) -> subprocess.Popen[bytes]:
    command = [str(PAAS), "server", "--home", str(home), "--stacks", stacks, "--stop-apps"]
    for name, port in ports.items():
        command += [f"--{name}", f"127.0.0.1:{port}"]
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)


def became_ready(process: subprocess.Popen[bytes], log: Path) -> bool:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if b"\nready in " in log.read_bytes():
            return True
        time.sleep(0.02)
    return False


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Demos side by side start one after the other, so that each finds the ports of the others taken."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def server(home: Path, stacks: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    """The running platform and its ports."""
    log = home.parent / "server.log"
    with ExitStack() as undo:
        with taking_turns(Path(stacks)):
            ports = choose_ports()
            process = start(home, ports, stacks, log)
            undo.callback(stop, process, home)
            if not became_ready(process, log):
                raise SystemExit("demo: the server did not start\n" + log.read_text(errors="replace"))
        print(log.read_text().rstrip(), flush=True)
        yield process, ports


def stop(process: subprocess.Popen[bytes], home: Path) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(90)
    subprocess.run([str(PAAS), "server:uninstall", "--home", str(home), "--confirm", str(home)], check=True)


def prepare_repository(folder: Path) -> Path:
    repository = folder / "hello"
    shutil.copytree(HERE / "hello", repository)
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "Say hello"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    return repository


def demonstrate(folder: Path, once: bool, stacks: str) -> None:
    home, key = folder / "home", folder / "key"
    ssh = f"ssh -F none -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new"
    environ = {name: value for name, value in os.environ.items() if name != "PAAS_APP"}
    environ["PAAS_HOME"] = str(home)
    environ["GIT_SSH_COMMAND"] = f"{ssh} -o UserKnownHostsFile={folder / 'known_hosts'}"
    say("1. The platform starts, each daemon under its own user")
    with server(home, stacks) as (process, ports):
        say("2. A key for you, an app, and a git remote")
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(key)], check=True
        )
        repository = prepare_repository(folder)
        run([str(PAAS), "keys:add", "--name", "demo", f"{key}.pub"], environ)
        run([str(PAAS), "create", "hello"], environ, repository)
        say("3. git push")
        run(["git", "push", "paas", "main"], environ, repository)
        say("4. The app answers")
        url = f"http://hello.localhost:{ports['http']}/"
        run(["curl", "-sS", "--resolve", f"hello.localhost:{ports['http']}:127.0.0.1", url], environ)
        print()
        run([str(PAAS), "ps", "-a", "hello"], environ)
        if not once:
            say(f"It stays up at {url} until Ctrl-C. In another shell:")
            print(f"$ export PAAS_HOME={home}\n$ alias paas={PAAS}")
            print("$ paas keys:add                 your SSH key, to push apps of your own", flush=True)
            while process.poll() is None:
                time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--stacks", default="/var/cache/paas/stacks")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` leaves it ignored
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="paas-demo-"))
        undo.callback(shutil.rmtree, folder)
        try:
            demonstrate(folder, options.once, options.stacks)
        except KeyboardInterrupt:
            say("Stopped")


if __name__ == "__main__":
    main()
