"""What containers are made with, without a spawner: an Engine on a home of its own, and children that play their parts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from runtime import cgroup
from runtime.container import init
from runtime.container.engine import Engine
from runtime.home import Layout
from runtime.kernel import process, seccomp_apps
from runtime.kernel.userns import UserNamespaces

LOG_USER, LOG_GROUP, ATTACH_GROUP = 64910, 64911, 64912
BASE = 65536 * 7100


@contextmanager
def engine_home(folder: Path, *, allow_bind: tuple[Path, ...] = ()) -> Iterator[Engine]:
    """A real engine without a network; its control groups and its run folder are gone at the end."""
    layout = Layout(folder / "home", folder / "stacks", secrets.token_hex(3))
    for path in (layout.layers, layout.instances, layout.volumes, layout.caches, layout.logs):
        path.mkdir(parents=True, mode=0o755)
    stage = folder / "stage"
    stage.mkdir(mode=0o700)
    layout.run_instances.mkdir(parents=True)
    groups = cgroup.detect(layout.id)
    programs = [init.open_program(name) for name in ("init", "start")]
    engine = Engine(
        layout=layout,
        cgroups=groups,
        network=None,
        userns=UserNamespaces(),
        init_fd=programs[0],
        start_fd=programs[1],
        seccomp=seccomp_apps.compile_filter(),
        stage=stage,
        boot_id=process.boot_id(),
        log_user=LOG_USER,
        log_group=LOG_GROUP,
        attach_group=ATTACH_GROUP,
        allow_bind=allow_bind,
    )
    with ExitStack() as cleaning:
        cleaning.callback(layout.run.rmdir)
        cleaning.callback(layout.run_instances.rmdir)  # which holds no instance any more
        cleaning.callback(groups.remove)
        for fd in programs:
            cleaning.callback(os.close, fd)
        yield engine


def forked(action: Callable[[], object]) -> int:
    """The pid of a child that does this and ends with status 0, or 1 after an exception."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with suppress(BaseException):
            action()
            status = 0
        os._exit(status)
    return pid


def ended(pid: int) -> int:
    """How a child has ended: its status, or minus the number of a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def descriptors() -> set[str]:
    """What this process has open."""
    return set(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    """The pids of this process's children, those that have ended and were not waited for too."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for one in lists for pid in one.read_text().split()}
