"""Where everything lives on disk: the durable home, the run-time folder, the machine-wide stacks.

Pure: computes paths, touches nothing. `PAAS_HOME` holds what must survive a reboot,
`/run/paas/ID` what must not, the stacks folder what every home on the machine shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one platform. `id` is the home's short id (`HOME/id`, six lower-case hex digits)."""

    home: Path
    stacks: Path
    id: str

    # durable, below the home
    @property
    def database(self) -> Path:
        """`store/paas.db`: the folder is 2770 `paas:paas`, so that WAL files can be made beside it."""
        return self.home / "store" / "paas.db"

    @property
    def repos(self) -> Path:
        return self.home / "repos"

    @property
    def sources(self) -> Path:
        """Exported git trees: `TREE.tar` and what `paas.build.source` reads beside it, written by the git daemon, read by the api."""
        return self.home / "sources"

    @property
    def images(self) -> Path:
        """An OCI image layout: `oci-layout`, `index.json`, `blobs/sha256/HEX`."""
        return self.home / "images"

    @property
    def layers(self) -> Path:
        """Unpacked layers, `HEX/`, below a 0700 folder that only root enters."""
        return self.home / "layers"

    @property
    def instances(self) -> Path:
        """`ID/upper` and `ID/work` of each instance, root only."""
        return self.home / "instances"

    @property
    def logs(self) -> Path:
        """`APPID/…` written by shims and the control plane, `router/…` by router workers."""
        return self.home / "logs"

    @property
    def builds(self) -> Path:
        """`APPID/N.log`: what build N printed."""
        return self.home / "builds"

    @property
    def volumes(self) -> Path:
        return self.home / "volumes"

    @property
    def caches(self) -> Path:
        """`APPID/`: the build cache of one app, bound at /cache in its build instances."""
        return self.home / "caches"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def edge(self) -> Path:
        """`certificates/` and `pages/`: what router workers read beside their table, written by the control plane."""
        return self.home / "edge"

    @property
    def router(self) -> Path:
        """`table.json`: the router's last good table."""
        return self.home / "router"

    # gone at reboot
    @property
    def run(self) -> Path:
        return Path("/run/paas") / self.id

    @property
    def run_instances(self) -> Path:
        """`ID/`: state.json, exit.json, attach.sock of each instance."""
        return self.run / "instances"

    @property
    def spawner_socket(self) -> Path:
        return self.run / "spawner" / "spawner.sock"

    @property
    def api_socket(self) -> Path:
        return self.run / "api" / "api.sock"

    @property
    def converge_socket(self) -> Path:
        """Datagram socket: an empty datagram means «look again»."""
        return self.run / "converge" / "poke.sock"

    @property
    def git_socket(self) -> Path:
        """Datagram socket of the git daemon: an empty datagram means that an app is gone."""
        return self.run / "git" / "poke.sock"

    @property
    def router_control(self) -> Path:
        """One control socket per router worker: `worker-PID.sock`."""
        return self.run / "router"
