"""Changes that a test makes, and what opens deployments for it: a store and no loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from paas.nouns.settings import load
from paas.release.change import Promote, Push, Rollback, SetConfig, SetLimits
from paas.store import Store

_WHO = {"actor": "me", "description": "Change"}
push = partial(Push, **_WHO)
set_config = partial(SetConfig, **_WHO)
set_limits = partial(SetLimits, **_WHO)
rollback = partial(Rollback, **_WHO)
promote = partial(Promote, **_WHO)


class Control:
    """The part of a platform that changes what is desired."""

    spawner: Any = None

    def __init__(self, folder: Path, *, overcommit: float = 2.0) -> None:
        settings = load({"home": str(folder), "stacks": str(folder)}, {}, None)
        self.settings = replace(settings, id="0a0b0c", memory_overcommit=overcommit)
        self.layout = self.settings.layout()
        self.store = Store.open(folder / "paas.db")
        self.pokes = 0

    def poke(self) -> None:
        self.pokes += 1

    def block_base(self) -> int:
        return 0
