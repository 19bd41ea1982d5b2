"""What the routes work with: settings, store, spawner. `serve` makes it once, tests make their own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flask import current_app

from paas import logs
from paas.build.platform import spawner_errors
from paas.daemon import presence
from paas.nouns.settings import Settings
from paas.routing import applied as routed
from paas.store import Store, poke
from runtime.client import Spawner
from runtime.home import Layout

APPLIED_S = 3.0
"""How long an answer waits for the router's workers to apply a change."""


@dataclass
class Context:
    """Settings, store and spawner of one platform. `git_uid` is the uid that may assert user names."""

    settings: Settings
    store: Store
    git_uid: int | None
    work_groups: tuple[Path, ...] = ()
    _block_base: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.layout: Layout = self.settings.layout()
        self.spawner = Spawner(self.layout.spawner_socket, presence.connect)

    def poke(self) -> None:
        """Wake converge up."""
        poke(self.layout.converge_socket)

    def applied(self, seq: int) -> bool:
        """Wait a moment for every router worker to apply event `seq`; False if they have not."""
        return routed.wait(self.layout, seq, timeout_s=APPLIED_S)

    def log(self, app_id: str, text: str) -> None:
        """A `paas[api]` line in the app's log."""
        logs.platform_line(self.layout, app_id, "api", text)

    def block_base(self) -> int:
        """Where the platform's block of user ids begins. Raises Unavailable while the spawner is away."""
        with self._lock:
            if self._block_base is None:
                with spawner_errors():
                    self._block_base = int(self.spawner.info()["block"]["id_base"])
            return self._block_base


def context() -> Context:
    """The context of the application that serves this request."""
    return cast(Context, current_app.extensions["paas"])
