"""What building and releasing need of the platform around them."""

from __future__ import annotations

from typing import Protocol

from paas.nouns.settings import Settings
from paas.store import Store
from runtime.client import Spawner
from runtime.home import Layout


class Platform(Protocol):
    """The api's context is one."""

    settings: Settings
    store: Store
    layout: Layout
    spawner: Spawner

    def poke(self) -> None: ...

    def block_base(self) -> int: ...
