"""`paas server:uninstall`: take a platform off the machine, its apps and their data included, and leave no trace."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

from paas.host.claim import claimed
from paas.nouns.errors import PaasError
from runtime import cgroup
from runtime.home import Layout
from runtime.image.removal import remove_path
from runtime.net import network
from runtime.spawner import idblocks

WORKERS_S = 5.0


def uninstall(layout: Layout) -> None:
    """Kill what runs, remove cgroups, links, rules, the run folder and the home. Raises PaasError.

    Can be called again after any interruption: each part is removed only if it is there, the home last.
    """
    if os.geteuid() != 0:
        raise PaasError("Removing a platform takes root.", "Run it with sudo.")
    with claimed(layout) as block:
        _end_workers(layout)
        cgroup.detect(layout.id).remove()
        network.Network(layout.id, block.network).teardown()
        _remove(layout.run)
        for path in sorted(layout.home.iterdir(), key=lambda path: path.name in ("id", "lock")):
            _remove(path)
        idblocks.release(layout)
        layout.home.rmdir()


def _end_workers(layout: Layout) -> None:
    """End router workers that outlived their server, and wait until they are gone."""
    pids = []
    for path in layout.router_control.glob("worker-*.sock"):
        match = re.fullmatch(r"worker-(\d+)\.sock", path.name)
        if match and _is_worker(int(match[1]), layout):
            pids.append(int(match[1]))
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + WORKERS_S
    while any(_is_worker(pid, layout) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_worker(pid: int, layout: Layout) -> bool:
    try:
        return os.fsencode(layout.router_control) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        remove_path(path)
