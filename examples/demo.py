"""`make demo`: the platform from nothing to a pushed app, with the real git, ssh and curl, on loopback.

Everything it makes lies in one temporary folder; neither ~/.ssh nor its known_hosts is touched.
"""

from __future__ import annotations

import argparse
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


@contextmanager
def server(home: Path, ports: dict[str, int], stacks: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(PAAS), "server", "--home", str(home), "--stacks", stacks, "--stop-apps"]
    for name, port in ports.items():
        command += [f"--{name}", f"127.0.0.1:{port}"]
    log = home.parent / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while b"ready in" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("demo: the server did not start\n" + log.read_text(errors="replace"))
            time.sleep(0.02)
        print(log.read_text().rstrip(), flush=True)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)
        subprocess.run(
            [str(PAAS), "server:uninstall", "--home", str(home), "--confirm", str(home)], check=True
        )


def prepare_repository(folder: Path) -> Path:
    repository = folder / "hello"
    shutil.copytree(HERE / "hello", repository)
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "Say hello"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    return repository


def demonstrate(folder: Path, ports: dict[str, int], once: bool, stacks: str) -> None:
    home, key = folder / "home", folder / "key"
    ssh = f"ssh -F none -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new"
    environ = {**os.environ, "PAAS_HOME": str(home), "PAAS_APP": ""}
    environ["GIT_SSH_COMMAND"] = f"{ssh} -o UserKnownHostsFile={folder / 'known_hosts'}"
    del environ["PAAS_APP"]
    say("1. The platform starts, each daemon under its own user")
    with server(home, ports, stacks) as process:
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
            say(f"It stays up at {url} until Ctrl-C. In another shell: export PAAS_HOME={home}")
            while process.poll() is None:
                time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--stacks", default="/var/cache/paas/stacks")
    options = parser.parse_args()
    wanted = {"http": 8080, "ssh": 2222, "api": 8081}
    ports = {name: free_port(port) for name, port in wanted.items()}
    for name, port in ports.items():
        if port != wanted[name]:
            print(f"127.0.0.1:{wanted[name]} is busy, {name} listens on 127.0.0.1:{port}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="paas-demo-"))
        undo.callback(shutil.rmtree, folder)
        try:
            demonstrate(folder, ports, options.once, options.stacks)
        except KeyboardInterrupt:
            say("Stopping")


if __name__ == "__main__":
    main()
