"""A spawner of one's own for tests: a home in a temporary folder, started, killed and cleaned away for real."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from runtime import cgroup
from runtime.client import Spawner
from runtime.home import Layout
from runtime.net.network import Network
from runtime.protocol import Exit, Observed, Started
from runtime.spawner import idblocks
from runtime.spec import Box, Order, Process

T = TypeVar("T")
STACKS = Path(os.environ.get("PAAS_STACKS", "/var/cache/paas/stacks"))
REPOSITORY = Path(__file__).resolve().parents[2]
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/app", "LANG": "C.UTF-8"}
WAIT_S = 30.0


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """The first true answer. Fails the test when none comes."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"never happened: {what}")


def gone(folder: Path) -> bool:
    """Remove a folder in which a child of a killed spawner may still be removing something itself."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _take(cls: type[T], values: dict[str, Any]) -> T:
    """Made of those values that are fields of the class, which are removed."""
    names = [one.name for one in dataclasses.fields(cls) if one.name in values]  # type: ignore[arg-type]
    return cls(**{name: values.pop(name) for name in names})


class SpawnerUnderTest:
    """`program` are the interpreter's words; a test may give it code that breaks something first."""

    def __init__(
        self, *, allow_bind: tuple[str, ...] = (), program: tuple[str, ...] = ("-m", "runtime.spawner.server")
    ) -> None:
        self.program = program
        self.home = Path(tempfile.mkdtemp(prefix="paas-spawner-"))
        self.home.chmod(0o755)
        self.layout = Layout(self.home, STACKS, secrets.token_hex(3))
        (self.home / "id").write_text(self.layout.id)
        for name in ("images", "sources"):
            (self.home / name).mkdir()
        self.allow_bind = allow_bind
        self.process: subprocess.Popen[bytes] | None = None
        self.client = Spawner(self.layout.spawner_socket)
        self.run_layers = tuple(json.loads((STACKS / "debian-12.json").read_text())["run"])
        self.id_base = 0
        self._ids = 0

    def start(self) -> None:
        command = [
            sys.executable,
            "-P",
            *self.program,
            "--home",
            str(self.home),
            "--stacks",
            str(STACKS),
        ]
        for path in self.allow_bind:
            command += ["--allow-bind", path]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.PIPE
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith(b"spawner ready"), line
        self.id_base = self.client.info()["block"]["id_base"]
        self.client.layers()  # waits until the store has been looked through

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def spec(self, *argv: str, **fields: Any) -> tuple[Order, Box]:
        """`fields` are those of Order, Process and Box."""
        self._ids += 1
        values = {
            "id": f"t{self._ids}", "app": "atest", "args": argv, "env": ENV, "layers": self.run_layers,
            "id_base": self.id_base, "network": False, **fields,
        }  # fmt: skip
        order, process = _take(Order, values), _take(Process, values)
        return order, Box(process=process, **values)

    def start_container(self, *argv: str, **fields: Any) -> tuple[str, Started]:
        order, box = self.spec(*argv, **fields)
        return order.id, self.client.create(order, box)

    def observed(self, instance_id: str) -> Observed | None:
        return next((item for item in self.client.list() if item.id == instance_id), None)

    def wait_exit(self, instance_id: str) -> Exit:
        def ended() -> Exit | None:
            seen = self.observed(instance_id)
            return seen.exit if seen else None

        found: Exit = wait_for(ended, f"the end of {instance_id}")
        return found

    def run(self, *argv: str, **fields: Any) -> tuple[Exit, list[str]]:
        """Run a command to its end; how it ended and the messages it logged. The container is deleted."""
        instance_id, _ = self.start_container(*argv, **fields)
        ended = self.wait_exit(instance_id)
        lines = self.messages(instance_id)
        self.client.delete(instance_id)
        return ended, lines

    def log(self, instance_id: str, app_id: str = "atest") -> str:
        folder = self.layout.logs / app_id
        return "".join((folder / f"{instance_id}.{n}.log").read_text() for n in (0, 1))

    def messages(self, instance_id: str) -> list[str]:
        return [line.split("]: ", 1)[1] for line in self.log(instance_id).splitlines()]

    def layer(self, build: Callable[[Path], None]) -> str:
        """Put a hostile or handmade layer where the store keeps them; its digest."""
        digest = secrets.token_hex(32)
        folder = self.layout.layers / digest
        folder.mkdir()
        folder.chmod(0o755)
        build(folder)
        return f"sha256:{digest}"

    def state(self, instance_id: str) -> dict[str, Any]:
        path = self.layout.run_instances / instance_id / "state.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def close(self) -> None:
        if self.process is None:
            self.start()
        for seen in self.client.list():
            self.client.delete(seen.id)
        network = self.client.info()["block"]["addresses"]
        self.kill()
        cgroup.detect(self.layout.id).remove()
        Network(self.layout.id, IPv4Network(network)).teardown()
        idblocks.release(self.layout)
        for folder in (self.layout.run, self.home):
            wait_for(lambda folder=folder: gone(folder), f"{folder} to be removed")
