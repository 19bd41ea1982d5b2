"""What is known of a container: its state file, its exit record, and its processes found again by a later spawner."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runtime.cgroup import Group
from runtime.container.engine import Engine
from runtime.kernel import process
from runtime.kernel.poll import readable
from runtime.kernel.process import Identity
from runtime.spec import Log


@dataclass
class Instance:
    """One container as the spawner knows it. Running or ended is found out by looking, never remembered."""

    id: str
    log: Log
    id_base: int
    process: Identity
    shim: Identity
    started_at: float
    address: str | None = None
    allow: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    pidfd: int | None = field(default=None, compare=False)
    shim_pidfd: int | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        del data["pidfd"], data["shim_pidfd"]
        return data | {"phase": "running"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Instance:
        """Raises KeyError or TypeError for anything that `to_json` did not write."""
        return cls(
            id=data["id"],
            log=Log(**data["log"]),
            id_base=data["id_base"],
            process=Identity(**data["process"]),
            shim=Identity(**data["shim"]),
            started_at=data["started_at"],
            address=data["address"],
            allow=tuple(data["allow"]),
            layers=tuple(data["layers"]),
        )

    def alive(self) -> bool:
        """Whether pid 1 of the container has not ended yet."""
        return self.pidfd is not None and not readable(self.pidfd)

    def shim_alive(self) -> bool:
        return self.shim_pidfd is not None and not readable(self.shim_pidfd)

    def close(self) -> None:
        for fd in (self.pidfd, self.shim_pidfd):
            if fd is not None:
                os.close(fd)
        self.pidfd = self.shim_pidfd = None


def write_state(folder: Path, state: dict[str, Any]) -> None:
    temporary = folder / "state.tmp"
    temporary.write_text(json.dumps(state))
    temporary.rename(folder / "state.json")


def read_exit(engine: Engine, instance_id: str) -> dict[str, Any] | None:
    """The record the shim wrote; None while there is none."""
    try:
        data = (engine.run_folder(instance_id) / "exit.json").read_bytes()
        record = json.loads(data.rstrip(b"\0"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def lost_exit(group: Group) -> dict[str, Any]:
    """The record of a container whose shim was killed, so that the kernel killed it too."""
    stats = group.stats()
    return {
        "status": 128 + signal.SIGKILL,
        "signal": int(signal.SIGKILL),
        "oom_kills": stats.oom_kills,
        "peak_memory_bytes": stats.peak_memory_bytes,
        "ended_at": time.time(),
        "wall_exceeded": False,
    }


def adopt(engine: Engine, folder: Path) -> Instance | None:
    """The instance whose run folder this is, its processes found again; None if it was never finished."""
    try:
        state = json.loads((folder / "state.json").read_bytes())
        instance = Instance.from_json(state)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if state.get("phase") != "running" or instance.process.boot_id != engine.boot_id:
        return None
    instance.pidfd = process.open_pidfd(instance.process, engine.boot_id)
    instance.shim_pidfd = process.open_pidfd(instance.shim, engine.boot_id)
    return instance
