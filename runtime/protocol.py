"""What the spawner answers, as values; each class is also the JSON of its answer or record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from runtime.spec import Order

T = TypeVar("T")


class Refusal(Exception):
    """Why something was not done, as an answer says it. `code` is stable."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def read(cls: type[T], answer: Mapping[str, Any]) -> T:
    """The keys of an answer that `cls` knows; None for those that an older writer did not."""
    return cls(**{one.name: answer.get(one.name) for one in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Exit:
    """How a container ended. `status` is what a shell would show; `signal` what killed it, if anything did."""

    status: int
    signal: int | None
    oom_kills: int
    peak_memory_bytes: int
    ended_at: float
    wall_exceeded: bool


@dataclass(frozen=True)
class Started:
    pid: int
    start_ticks: int
    boot_id: str
    address: str | None
    started_at: float


@dataclass(frozen=True)
class Observed(Started):
    """A container as the spawner finds it. `state` is `running`, `exited` or `broken`."""

    id: str
    state: str
    order: Order
    exit: Exit | None


@dataclass(frozen=True)
class Layer:
    """A layer that was made. `digest` is None when there was nothing to put into it."""

    digest: str | None
    size_bytes: int
    files: int


@dataclass(frozen=True)
class StoredLayer:
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class Listening:
    address: str
    port: int
