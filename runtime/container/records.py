"""What is known of a container: its state file, its exit record, and its processes found again by a later spawner."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.cgroup import Group
from runtime.container.engine import Engine
from runtime.kernel import files, process
from runtime.kernel.poll import readable
from runtime.kernel.process import Identity
from runtime.protocol import Exit, Started, read
from runtime.spec import Order

_NUMBERS_OF_SIGNALS = range(129, 128 + 64 + 1)
"""What a shell shows of a program that a signal ended: 128 and the signal's number."""


@dataclass
class Instance:
    """One container as the spawner knows it. Running or ended is found out by looking, never remembered."""

    order: Order
    id_base: int
    process: Identity
    shim: Identity
    started_at: float
    address: str | None = None
    allow: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    pidfd: int | None = field(default=None, compare=False)
    shim_pidfd: int | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        return self.order.id

    def to_json(self) -> dict[str, Any]:
        nested = {"order": vars(self.order), "process": vars(self.process), "shim": vars(self.shim)}
        data = vars(self) | nested | {"phase": "running"}
        del data["pidfd"], data["shim_pidfd"]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Instance:
        """Raises KeyError or TypeError for anything that `to_json` did not write."""
        return cls(
            order=Order(**data["order"]) if "order" in data else _former_order(data),
            id_base=data["id_base"],
            process=Identity(**data["process"]),
            shim=Identity(**data["shim"]),
            started_at=data["started_at"],
            address=data["address"],
            allow=tuple(data["allow"]),
            layers=tuple(data["layers"]),
        )

    def started(self) -> Started:
        return Started(**vars(self.process), address=self.address, started_at=self.started_at)

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


def _former_order(data: dict[str, Any]) -> Order:
    """From the state file of a container that a spawner of an earlier release started; it may run for months."""
    log = data["log"]
    type, _, number = log["dyno"].rpartition(".")
    return Order(data["id"], log["app_id"], type, int(number) if number.isdigit() else 0, log=log["source"])


def write_state(folder: Path, state: dict[str, Any]) -> None:
    files.replace(folder / "state.json", json.dumps(state), durable=False)


def read_exit(engine: Engine, instance_id: str) -> Exit | None:
    """The record the shim wrote; None while there is none."""
    try:
        data = (engine.run_folder(instance_id) / "exit.json").read_bytes()
        record = json.loads(data.rstrip(b"\0"))
    except (OSError, ValueError):
        return None
    return read(Exit, record) if isinstance(record, dict) else None


def exit_record(wait_status: int, group: Group, *, wall_exceeded: bool = False) -> Exit:
    """How a container ended, from the wait status of its main program. `status` is what a shell would say; `signal`
    what killed the program, or what its status says killed something below it, as shells do."""
    code = os.waitstatus_to_exitcode(wait_status)
    status = 128 - code if code < 0 else code
    stats = group.stats()
    return Exit(
        status=status,
        signal=status - 128 if status in _NUMBERS_OF_SIGNALS else None,
        oom_kills=stats.oom_kills,
        peak_memory_bytes=stats.peak_memory_bytes,
        ended_at=time.time(),
        wall_exceeded=wall_exceeded,
    )


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
