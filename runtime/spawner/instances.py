"""The containers of a platform and how they end: found again at a start, watched, removed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

from runtime.cgroup import CgroupError, OomWatch
from runtime.container import create, records
from runtime.container.engine import ContainerError, Engine
from runtime.container.records import Instance
from runtime.container.sources import TRASH
from runtime.kernel.poll import readable
from runtime.kernel.process import signal_pidfd
from runtime.protocol import Exit, Observed
from runtime.reactor import Reactor

_RECORD_RETRY_S = 0.005
_RECORD_WAIT_S = 5.0
_OOM_SETTLE_S = 0.02
_REMOVE_RETRY_S = 0.5
_SHIM_END_S = 5.0

Event = Callable[[str, str], None]


class Instances:
    """What runs, what has ended and is not deleted yet. `event` is told `exit` and `oom` with the id."""

    def __init__(self, engine: Engine, reactor: Reactor, event: Event) -> None:
        self._engine = engine
        self._reactor = reactor
        self._event = event
        self._all: dict[str, Instance] = {}
        self._exits: dict[str, Exit] = {}
        self._oom: dict[str, tuple[OomWatch, int]] = {}
        self._deleting: dict[str, list[Callable[[Exit | None], None]]] = {}

    def __iter__(self) -> Any:
        return iter(list(self._all.values()))

    def get(self, instance_id: str) -> Instance:
        """Raises ContainerError `not_found`."""
        try:
            return self._all[instance_id]
        except KeyError:
            raise ContainerError("not_found", f"there is no instance {instance_id}") from None

    def running(self, instance_id: str) -> Instance:
        """Raises ContainerError `not_found` or `not_running`."""
        instance = self.get(instance_id)
        if not instance.alive():
            raise ContainerError("not_running", f"instance {instance_id} has ended")
        return instance

    def observed(self, instance: Instance) -> Observed:
        """Until the record of its end is there, for a moment, a container that has ended counts as running."""
        record = self._exits.get(instance.id)
        if instance.alive():
            state = "running" if instance.shim_alive() else "broken"
        else:
            state = "exited" if record else "running"
        started = vars(instance.started())
        return Observed(**started, id=instance.id, state=state, order=instance.order, exit=record)

    def recover(self) -> list[str]:
        """At the start: adopt what runs, remove what a killed spawner left half done; ids adopted."""
        engine = self._engine
        folders = {path.name: path for path in engine.layout.run_instances.iterdir() if path.is_dir()}
        for name, folder in folders.items():
            instance = records.adopt(engine, folder)
            if instance is None:
                continue
            if engine.network is not None and instance.address is not None:
                engine.network.adopt(name, IPv4Address(instance.address), instance.allow)
            self.add(instance)
        known = set(self._all)
        links = set(engine.network.instances()) if engine.network is not None else set()
        uppers = {path.name for path in engine.layout.instances.iterdir() if path.name != TRASH}
        for name in (set(folders) | set(engine.cgroups.groups()) | links | uppers) - known:
            create.remove(engine, name)
        return sorted(known)

    def add(self, instance: Instance) -> None:
        """Watch a container that runs, or that ended while no spawner ran."""
        self._all[instance.id] = instance
        if instance.shim_pidfd is not None:
            self._reactor.watch(instance.shim_pidfd, lambda _: self._shim_ended(instance))
        if instance.pidfd is None:
            self._settle(instance, time.monotonic())
            return
        self._reactor.watch(instance.pidfd, lambda _: self._ended(instance))
        self._watch_oom(instance)

    def delete(self, instance_id: str, done: Callable[[Exit | None], None]) -> None:
        """Kill if need be, then remove everything; `done` may be called later."""
        instance = self._all.get(instance_id)
        if instance is None:
            create.remove(self._engine, instance_id)
            done(None)
            return
        self._deleting.setdefault(instance_id, []).append(done)
        if instance_id in self._exits:
            self._remove(instance)
        else:
            self.kill(instance)

    def kill(self, instance: Instance) -> None:
        """SIGKILL to everything inside."""
        if instance.pidfd is not None:
            signal_pidfd(instance.pidfd, signal.SIGKILL)
        with suppress(OSError, CgroupError):
            self._engine.cgroups.group(instance.id).kill()

    def _watch_oom(self, instance: Instance) -> None:
        group = self._engine.cgroups.group(instance.id)
        try:
            watch = group.watch_oom()
        except OSError:
            return
        self._oom[instance.id] = (watch, group.oom_kills())
        self._reactor.watch(watch.fileno(), lambda _: self._oom_notice(instance.id), watch.events)

    def _oom_notice(self, instance_id: str) -> None:
        """The notice comes a moment before the count rises; it also comes when the group is removed."""
        self._oom[instance_id][0].clear()
        self._reactor.later(_OOM_SETTLE_S, lambda: self._count_oom(instance_id))

    def _count_oom(self, instance_id: str) -> None:
        if instance_id not in self._oom:
            return
        watch, before = self._oom[instance_id]
        count = self._engine.cgroups.group(instance_id).oom_kills()
        self._oom[instance_id] = (watch, count)
        if count > before:
            self._event("oom", instance_id)

    def _shim_ended(self, instance: Instance) -> None:
        """Reap it if it is our child; after a restart of the spawner it is not."""
        assert instance.shim_pidfd is not None
        self._reactor.forget(instance.shim_pidfd)
        with suppress(ChildProcessError):
            os.waitpid(instance.shim.pid, os.WNOHANG)

    def _ended(self, instance: Instance) -> None:
        assert instance.pidfd is not None
        self._reactor.forget(instance.pidfd)
        self._settle(instance, time.monotonic())

    def _settle(self, instance: Instance, since: float) -> None:
        """Wait for the shim's record, which follows the end at once; make one up if the shim is dead."""
        record = records.read_exit(self._engine, instance.id)
        if record is None:
            late = time.monotonic() - since > _RECORD_WAIT_S
            if instance.shim_alive() and not late:
                self._reactor.later(_RECORD_RETRY_S, lambda: self._settle(instance, since))
                return
            record = records.read_exit(self._engine, instance.id)
        if record is None:
            # the kernel kills a container whose shim was killed
            record = records.exit_record(signal.SIGKILL, self._engine.cgroups.group(instance.id))
            folder = self._engine.run_folder(instance.id)
            with suppress(OSError):
                (folder / "exit.json").write_text(json.dumps(vars(record)))
        self._exits[instance.id] = record
        self._count_oom(instance.id)
        self._forget_oom(instance.id)
        self._event("exit", instance.id)
        if instance.id in self._deleting:
            self._remove(instance)

    def _forget_oom(self, instance_id: str) -> None:
        watch, _ = self._oom.pop(instance_id, (None, 0))
        if watch is not None:
            self._reactor.forget(watch.fileno())
            watch.close()

    def _remove(self, instance: Instance) -> None:
        """A shim that still waits for its client has no reason to any more."""
        if instance.shim_pidfd is not None:
            self._reactor.forget(instance.shim_pidfd)
            signal_pidfd(instance.shim_pidfd, signal.SIGKILL)
            readable(instance.shim_pidfd, _SHIM_END_S)
            with suppress(ChildProcessError):
                os.waitpid(instance.shim.pid, os.WNOHANG)
        try:
            create.remove(self._engine, instance.id)
        except (CgroupError, OSError):
            self._reactor.later(_REMOVE_RETRY_S, lambda: self._remove(instance))
            return
        instance.close()
        del self._all[instance.id]
        record = self._exits.pop(instance.id)
        for done in self._deleting.pop(instance.id, []):
            done(record)
