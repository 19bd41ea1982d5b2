"""A command that runs once in a container of a release: the row first, then the container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paas.build.platform import Platform, spawner_errors
from paas.nouns.errors import PaasError
from paas.nouns.model import Instance
from paas.runs.specs import Origin, run_spec, with_wall_limit
from paas.store import Tx, instances
from runtime.spec import Box, Order, Terminal


@dataclass(frozen=True)
class Command:
    """What runs: `terminal` is the size of the client's, if it has one; `wall_s` ends it after so many seconds."""

    words: Sequence[str]
    actor: str
    detach: bool = True
    terminal: Terminal | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    wall_s: float | None = None


@dataclass(frozen=True)
class OneOff:
    """The row of a command that has not started, and the container it asks for."""

    instance: Instance
    order: Order
    box: Box


def add_row(tx: Tx, origin: Origin, command: Command, *, block_base: int) -> OneOff:
    """`start` follows once the transaction has committed."""
    detail = {"argv": list(command.words), "actor": command.actor, "detach": command.detach}
    number = origin.release.number
    instance = instances.create(
        tx, origin.app.id, kind="run", type="run", release_number=number, detail=detail
    )
    order, box = run_spec(
        origin, instance, block_base=block_base, command=command.words,
        terminal=command.terminal, attach=not command.detach, env=command.env,
    )  # fmt: skip
    return OneOff(
        instance, order, with_wall_limit(box, command.wall_s) if command.wall_s is not None else box
    )


def start(platform: Platform, one_off: OneOff) -> None:
    """Start the container. A start that fails ends the row, with the error as its cause. Raises PaasError."""
    id = one_off.instance.id
    try:
        with spawner_errors():
            started = platform.spawner.create(one_off.order, one_off.box)
    except PaasError as error:
        with platform.store.write() as tx:
            instances.ended(tx, id, cause=error.message)
        raise
    else:
        with platform.store.write() as tx:
            instances.started(tx, id, address=started.address, detail={"pid": started.pid})
    finally:
        platform.poke()
