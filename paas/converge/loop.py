"""The loop: read the rows, plan, act, wait for something to happen. One thread; all truth is in the store."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from functools import partial

from paas import logs
from paas.converge.act import Actions, described
from paas.converge.adopt import adopt
from paas.converge.certify import Certifier
from paas.converge.collect import Collector, end_dead_builds, orphaned_builds
from paas.converge.link import Link, SpawnerDown
from paas.converge.plan import Action, Advance, Start, Timeouts, plan_app
from paas.converge.release_output import ReleaseOutput
from paas.converge.rollout import Traffic, next_step
from paas.converge.routers import Routers
from paas.converge.watch import Candidate, Watch
from paas.converge.world import Ages, AppState, Facts, read_world
from paas.daemon.wakeup import Waker
from paas.nouns.errors import Unavailable
from paas.nouns.model import Instance
from paas.nouns.settings import Settings
from paas.routing import applied
from paas.routing.table import route_table
from paas.runs.specs import limits_of
from paas.store import Store, apps, deployments, events, poke
from runtime.client import Spawner, SpawnerError
from runtime.reactor import Reactor

log = logging.getLogger("converge")

IDLE_S = 5.0
"""The loop looks at everything this often even if nothing happens."""
BUSY_S = 0.25
"""… and this often while an instance is on its way or a deployment is unfinished."""
FAILED_S = 1.0
"""… and this soon after an app or an action failed."""
DISCOVER_S = 1.0
"""How often it looks for new router workers."""
MAX_BOOTING = 32
"""Processes that may boot at once: after a reboot they come in waves, so that none misses its boot time."""
ROUNDS = 50
"""Rounds in a row before events are handled again; the next follows after `BREATH_S`."""
BREATH_S = 0.05


class Loop:
    """Converges until `stop` is called. `client` talks to the spawner."""

    def __init__(self, settings: Settings, store: Store, client: Spawner) -> None:
        layout = settings.layout()
        self._settings, self._store, self._layout = settings, store, layout
        self._reactor = Reactor()
        self._link = Link(self._reactor, client, self.poke)
        self._routers = Routers(self._reactor, layout.router_control, self.poke)
        self._collector = Collector(settings, store, client, layout.converge_socket)
        self._output = ReleaseOutput(store, layout)
        self._certifier = Certifier(settings)
        self._actions = Actions(
            store,
            self._link,
            layout,
            release_timeout_s=settings.release_timeout_s,
            starting=self._output.expect,
            advanced=self._advanced,
            remove_app=self._collector.remove_app,
        )
        self._watch = Watch(
            self._reactor, self._link, settings.boot_timeout_s, self._actions.last_lines, self.poke
        )
        self._timeouts = Timeouts(settings.drain_timeout_s, settings.stop_timeout_s)
        self._ages = Ages()
        self._traffic: dict[int, Traffic] = {}
        self._suspects: dict[str, int] = {}
        self._orphaned: frozenset[int] = frozenset()
        self._booting = 0
        self._noted = -1
        self._dirty = True
        self._stopping = False
        self._poke_socket = self._bind()
        self._waker = Waker(layout)

    def poke(self) -> None:
        """Something has happened: look again at the next turn."""
        self._dirty = True

    def stop(self) -> None:
        """Let `run` return soon. May be called by a signal handler."""
        self._stopping = True
        poke(self._layout.converge_socket)

    def run(self) -> None:
        """Until `stop`. What runs goes on running."""
        self._collector.start()
        next_look, next_discovery = 0.0, 0.0
        while not self._stopping:
            now = time.monotonic()
            if now >= next_discovery:
                self._routers.discover()
                next_discovery = now + DISCOVER_S
            if self._dirty or now >= next_look:
                self._dirty = False
                next_look = time.monotonic() + self._look()
            if not self._dirty:
                self._reactor.turn(min(next_look, next_discovery) - time.monotonic())
        self.close()

    def close(self) -> None:
        self._collector.stop()
        self._certifier.close()
        self._watch.close()
        self._routers.close()
        self._link.close()
        self._poke_socket.close()
        self._waker.close()
        self._reactor.close()

    def _look(self) -> float:
        """Plan and act until nothing is left to do; returns the seconds until it must look again."""
        try:
            for _ in range(ROUNDS):
                wake_s, acted = self._round()
                if not acted:
                    return wake_s
            return BREATH_S
        except SpawnerDown:
            return BUSY_S
        except Unavailable as error:
            log.warning("store unavailable reason=%s", error.message)
            return BUSY_S

    def _round(self) -> tuple[float, bool]:
        """Look at everything once; returns when to look again, in seconds, and whether anything was done."""
        there = self._link.refresh()
        with self._store.read() as tx:
            states, seq = read_world(tx, self._settings.domain), events.last(tx)
            self._orphaned = orphaned_builds(tx, (i for state in states for i in state.live))
            hosts = {state.app.id: state.host_names for state in states}
            secure = self._certifier.read(tx, hosts, seq)
        if self._orphaned:
            end_dead_builds(self._store)
        self._see(states)
        self._offer_table(states, secure, seq)
        wake_s = min(IDLE_S, self._certifier.act())
        if not there:
            return BUSY_S, False
        if self._adopt(states):
            return 0.0, True
        self._report_ooms(states)
        self._sync_watch(states)
        if self._output.follow(states):
            self._waker.wake()
        wait_s, acted = self._converge_all(states)
        return min(wake_s, wait_s), acted

    def _offer_table(self, states: list[AppState], secure: dict[str, object], seq: int) -> None:
        # A worker that started meanwhile may have read an older table: nothing leaves before it has this one.
        self._routers.discover()
        workers = self._settings.router_workers
        table = route_table(states, 0, workers=workers)
        self._routers.offer({**table, **secure})
        if self._routers.acked and seq != self._noted:
            applied.note(self._layout, seq)
            self._noted = seq

    def _converge_all(self, states: list[AppState]) -> tuple[float, bool]:
        facts = self._facts()
        self._expect_foreign(states)
        self._booting = sum(
            i.kind == "process" and i.state == "starting" for state in states for i in state.live
        )
        wake_s, actions = IDLE_S, 0
        for state in states:
            try:
                wake, count = self._converge(state, facts)
            except (SpawnerDown, Unavailable):
                raise
            except Exception:
                log.exception("app=%s cannot be converged", state.app.id)
                wake, count = FAILED_S, 0
            wake_s, actions = min(wake_s, wake), actions + count
        return wake_s, actions > 0

    def _converge(self, state: AppState, facts: Facts) -> tuple[float, int]:
        """Plan and act for one app; an app whose actions fail does not hold up the others."""
        now = time.time()
        step = next_step(
            state,
            facts,
            now=now,
            boot_timeout_s=self._settings.boot_timeout_s,
            url=self._settings.url(state.hosts[0]) if state.hosts else "",
            traffic=self._traffic_of(state),
        )
        plan = plan_app(state, facts, now, self._timeouts)
        wake_s = min(step.wake_s, plan.wake_s)
        if state.deployment is not None or any(i.state != "up" for i in state.live):
            wake_s = min(wake_s, BUSY_S)
        actions: list[Action] = [*step.actions, *plan.actions]
        done = 0
        for action in actions:
            if isinstance(action, Start) and action.kind == "process":
                if self._booting >= MAX_BOOTING:
                    continue
                self._booting += 1
            try:
                self._actions.perform(action)
                self._waker.wake()
                done += 1
            except SpawnerError as error:
                log.error("action=%s refused=%s reason=%s", described(action), error.code, error.message)
                wake_s = min(wake_s, FAILED_S)
                break
        return wake_s, done

    def _facts(self) -> Facts:
        return Facts(
            containers=self._link.containers,
            ready=self._watch.ready,
            failed=self._watch.failed,
            drained=self._routers.drained,
            acked=self._routers.acked,
            orphaned=self._orphaned,
            removing=self._collector.removing,
            signalled=self._actions.signalled,
            age_s=partial(self._ages.of, "instance"),
            step_age_s=partial(self._ages.of, "step"),
        )

    def _expect_foreign(self, states: list[AppState]) -> None:
        """The api starts the containers of runs and builds: list again while a row's container is unknown."""
        known = self._link.containers or {}
        for state in states:
            if any(i.kind not in ("process", "release") and i.runtime_id not in known for i in state.live):
                self._link.expire(1.0)

    def _see(self, states: list[AppState]) -> None:
        rows = [("instance", i.id, i.state, i.state_at) for state in states for i in state.live]
        rows += [("step", d.id, d.state, d.step_at) for state in states if (d := state.deployment)]
        self._ages.see(rows, now=time.monotonic(), wall=time.time())

    def _adopt(self, states: list[AppState]) -> bool:
        """Reconcile rows with containers; returns whether rows changed, which means that they must be read again."""
        containers = {id: item.address for id, item in self._link.seen.items()}
        found = adopt((i for state in states for i in state.live), containers)
        listing = self._link.listing
        doubtful = [id for id in found.orphans if self._suspects.get(id, listing) >= listing]
        for runtime_id in set(found.orphans) - set(doubtful):
            self._actions.remove_orphan(runtime_id)
        self._suspects = {id: self._suspects.get(id, listing) for id in found.orphans}
        if doubtful:
            self._link.expire(0.0)  # its owner may have removed it since the list was made
            self.poke()
        return bool(self._actions.take_addresses(found.addresses))

    def _sync_watch(self, states: list[AppState]) -> None:
        containers = self._link.containers or {}
        booting, living = [], []
        for state in states:
            for instance in state.live:
                if instance.kind != "process" or containers.get(instance.runtime_id) != "running":
                    continue
                candidate = self._candidate(state, instance)
                if candidate is not None and instance.state == "starting":
                    booting.append(candidate)
                elif candidate is not None and instance.state == "up":
                    living.append(candidate)
        self._watch.sync(booting, living)

    def _candidate(self, state: AppState, instance: Instance) -> Candidate | None:
        runs = state.release_of(instance)
        if runs is None:
            return None
        deployment = state.deployment
        pushed = deployment is not None and deployment.push and deployment.id == instance.deployment_id
        age_s = self._ages.of("instance", instance.id)
        return Candidate(state.app, *runs, instance, state.hosts[0], age_s, pushed)

    def _report_ooms(self, states: list[AppState]) -> None:
        oomed, self._link.oomed = set(self._link.oomed), []
        for state in states if oomed else ():
            for instance in state.live:
                if instance.runtime_id in oomed:
                    release, _ = state.release_of(instance) or (state.release, None)
                    limit = limits_of(release, instance.type).memory_bytes // (1024 * 1024)
                    text = (
                        f"Error R14 (Memory quota exceeded): a process was killed at the limit of {limit} MiB"
                    )
                    logs.platform_line(self._layout, state.app.id, instance.name, text)

    def _advanced(self, action: Advance) -> None:
        if action.state in ("switching", "draining"):
            self._routers.ask_stats()
        if action.state == "draining":
            with self._store.read() as tx:
                app = apps.by_id(tx, deployments.get(tx, action.deployment_id).app_id)
            if app is not None:
                self._traffic[action.deployment_id] = self._routers.traffic(app.name)
        if action.state in ("succeeded", "failed", "cancelled"):
            self._traffic.pop(action.deployment_id, None)
            self._collector.collect_soon()

    def _traffic_of(self, state: AppState) -> Traffic | None:
        """Requests since the switch began; None when this loop did not see it begin."""
        if state.deployment is None or state.deployment.state != "draining":
            return None
        before = self._traffic.get(state.deployment.id)
        if before is None:
            return None
        after = self._routers.traffic(state.app.name)
        return Traffic(max(0, after.requests - before.requests), max(0, after.failed - before.failed))

    def _bind(self) -> socket.socket:
        path = str(self._layout.converge_socket)
        with suppress(FileNotFoundError):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        sock.bind(path)
        os.chmod(path, 0o660)
        self._reactor.watch(sock.fileno(), lambda _: self._poked())
        return sock

    def _poked(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._poke_socket.recv(16)
        self.poke()
