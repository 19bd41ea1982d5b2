"""What building and releasing need of the platform around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from paas.nouns.errors import Unavailable, from_json
from paas.nouns.settings import Settings
from paas.store import Store
from runtime.client import Spawner, SpawnerError
from runtime.home import Layout


class Platform(Protocol):
    """The api's context is one."""

    settings: Settings
    store: Store
    layout: Layout
    spawner: Spawner
    work_groups: tuple[Path, ...]
    """The `cgroup.procs` files of the groups that work on what tenants sent is charged to."""

    def poke(self) -> None: ...

    def block_base(self) -> int: ...


@contextmanager
def spawner_errors() -> Iterator[None]:
    """The spawner's errors as the platform's, which people may see."""
    try:
        yield
    except SpawnerError as error:
        shown = {"code": error.code, "message": error.message, "hint": error.hint}
        raise from_json(shown, 503) from error
    except OSError as error:
        raise Unavailable("The spawner does not answer.", "See: paas server:status") from error
