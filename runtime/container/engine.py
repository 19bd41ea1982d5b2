"""What all containers of one platform share, and the error that making or changing one raises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.cgroup import Cgroups
from runtime.home import Layout
from runtime.kernel.userns import UserNamespaces
from runtime.net.network import Network
from runtime.protocol import Refusal


class ContainerError(Refusal):
    """A container could not be made or changed."""


@dataclass(frozen=True)
class Engine:
    """Built once by the spawner. `init_fd` and `start_fd` are open on the programs of the module `init`, `stage` an empty folder
    that every container mounts over in its own mount namespace."""

    layout: Layout
    cgroups: Cgroups
    network: Network | None
    userns: UserNamespaces
    init_fd: int
    start_fd: int
    seccomp: bytes
    stage: Path
    boot_id: str
    log_user: int
    log_group: int
    attach_group: int
    allow_bind: tuple[Path, ...] = ()

    def run_folder(self, instance_id: str) -> Path:
        """Holds the state file, exit record and attach socket of one container."""
        return self.layout.run_instances / instance_id
