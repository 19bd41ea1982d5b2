"""How the processes of an image start that says so itself: an image from elsewhere, or one of a Dockerfile. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

WEB_PORT = 5000
"""Where a web process listens, unless its image exposes another port."""
STOP_SIGNAL = "TERM"
STOP_SIGNALS = frozenset({"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "KILL"})
STARTUP = "startup"
"""The key of an image's manifest with its Startup."""


@dataclass(frozen=True)
class Startup:
    """What an image's OCI configuration asks for: `args` is its entrypoint and command, run as they are, without a shell.

    `user` and `group` are numbers inside the container; 0 is there, but has no capability. `stop_signal` is without `SIG`.
    """

    args: tuple[str, ...] = ()
    cwd: str = "/"
    user: int = 0
    group: int = 0
    home: str = "/root"
    port: int = WEB_PORT
    stop_signal: str = STOP_SIGNAL

    @property
    def command(self) -> str:
        """`args` as a person would type them."""
        return shlex.join(self.args)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "args": list(self.args)}


def startup_of(manifest: Mapping[str, Any]) -> Startup | None:
    """What an image's manifest keeps; None for an image that a buildpack made."""
    kept = manifest.get(STARTUP)
    return Startup(**{**kept, "args": tuple(kept["args"])}) if kept else None
