"""What every process of the git daemon knows of its platform: made once at the start, inherited by each fork."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paas.receive.limits import Limits
from paas.receive.repository import Repositories
from paas.receive.sources import Sources


@dataclass(frozen=True)
class GitContext:
    """Folders, sockets and limits. `groups` are the `cgroup.procs` files of the groups for work on pushed data."""

    home: Path
    api_socket: Path
    repositories: Repositories
    sources: Sources
    limits: Limits
    host_key: bytes
    """The public half of the host key, in its wire form."""
    host_key_folder: Path
    groups: tuple[Path, ...] = ()
