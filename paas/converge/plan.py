"""What to do next for one app, from its rows and the facts: actions, in the order to perform them. Pure.

The plan keeps what serves running; a deployment's own steps are in `rollout`. Both run again after every
change, so an action only has to be right for the moment: a loop that was killed between two goes on from rows.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from paas.converge.world import AppState, Facts
from paas.nouns.errors import DeployFailed
from paas.nouns.model import Instance
from paas.runs.desired import Slot
from paas.runs.specs import WEB

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 300.0
HEALTHY_S = 60.0
"""An instance that was up for so long had not crashed in boot: its end starts the back-off anew."""
JITTER = 0.2
START_GRACE_S = 30.0
"""How long a row that another process made (run, build) may wait for its container."""
LISTED_S = 3.0
"""How long a container that should end may be missing from the list, which may be older than its row."""
RUN_LINGER_S = 10.0
"""How long an ended run's container stays, for a client to read its last output."""
DESTROY_STOP_S = 5.0

STOPPED = "stopped"


@dataclass(frozen=True)
class Start:
    """Insert the row, then ask the spawner."""

    app_id: str
    kind: str
    type: str
    number: int
    release_number: int
    deployment_id: int | None = None
    canary: bool = False


@dataclass(frozen=True)
class MarkUp:
    id: int
    note: str = ""
    to_https: bool = False


@dataclass(frozen=True)
class Fail:
    """The instance will not become (or is no longer) healthy: record the diagnosis and kill it."""

    id: int
    error: DeployFailed


@dataclass(frozen=True)
class Drain:
    """Out of the routes; requests in flight go on."""

    id: int


@dataclass(frozen=True)
class Stop:
    """Mark the instance's row as stopping, with `why` as the cause. The signal follows from the row."""

    id: int
    why: str = STOPPED


@dataclass(frozen=True)
class Terminate:
    """SIGTERM to all processes of a stopping instance."""

    id: int


@dataclass(frozen=True)
class Kill:
    """SIGKILL to an instance that did not stop in time."""

    id: int


@dataclass(frozen=True)
class Reap:
    """The container has ended (`lost`: is gone): record why, remove it."""

    id: int
    lost: bool = False


@dataclass(frozen=True)
class Advance:
    """Move the deployment on; `lines` go to whoever follows it."""

    deployment_id: int
    state: str
    lines: tuple[str, ...] = ()
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class RemoveApp:
    """Nothing of the app runs any more: remove its files, then its row."""

    app_id: str


Action = Start | MarkUp | Fail | Drain | Stop | Terminate | Kill | Reap | Advance | RemoveApp


@dataclass(frozen=True)
class Timeouts:
    drain_s: float = 30.0
    stop_s: float = 30.0


@dataclass
class Plan:
    """`actions` to perform now; look again within `wake_s` even if nothing happens."""

    actions: list[Action] = field(default_factory=list)
    wake_s: float = float("inf")

    def wake_in(self, seconds: float) -> None:
        self.wake_s = min(self.wake_s, max(0.0, seconds))


def plan_app(state: AppState, facts: Facts, now: float, timeouts: Timeouts) -> Plan:
    """Everything to do for the app but its deployment's steps. `now` is wall time, compared with rows only for
    the restart back-off."""
    plan = Plan()
    if facts.containers is None:
        return plan
    for instance in state.live:
        _follow_container(plan, instance, facts, timeouts)
    if state.app.destroying:
        _destroy(plan, state, facts)
        return plan
    _retire(plan, state)
    if state.deployment is None or state.deployment.state != "switching":
        _keep_running(plan, state, now)
    return plan


def restart_delay_s(history: tuple[Instance, ...], release_number: int) -> float:
    """How long after the newest end the slot may start again. `history`: ended instances, newest first.

    At once after the first crash, then 1 s doubling up to 5 min, ± 20 %; reset by another release, by 60 s of
    health and (in the plan) by a restart that somebody asked for. What was stopped on purpose does not count.
    """
    crashes = 0
    for instance in history:
        if instance.release_number != release_number or not instance.crashed:
            break
        crashes += 1
        if _healthy_s(instance) >= HEALTHY_S:
            break
    if crashes <= 1:
        return 0.0
    delay = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** (crashes - 2))
    return delay * random.Random(history[0].id).uniform(1 - JITTER, 1 + JITTER)


def _healthy_s(instance: Instance) -> float:
    if instance.healthy_at is None or instance.ended_at is None:
        return 0.0
    return max(0.0, instance.ended_at - instance.healthy_at)


def _follow_container(plan: Plan, instance: Instance, facts: Facts, timeouts: Timeouts) -> None:
    """React to one live row's container, probe and timeouts."""
    if instance.kind == "build" and instance.id not in facts.orphaned:
        return
    containers = facts.containers or {}
    container, age = containers.get(instance.runtime_id), facts.age_s(instance.id)
    if container is None:
        grace = START_GRACE_S if instance.state != "stopping" else LISTED_S
        if instance.kind in ("process", "release") or age > grace:
            plan.actions.append(Reap(instance.id, lost=True))
        else:
            plan.wake_in(min(1.0, grace - age))
    elif container != "running":
        _follow_exited(plan, instance, age)
    elif instance.state == "stopping":
        if instance.id not in facts.signalled:
            plan.actions.append(Terminate(instance.id))
        elif age >= timeouts.stop_s:
            plan.actions.append(Kill(instance.id))
        plan.wake_in(max(1.0, timeouts.stop_s - age))
    elif instance.state == "draining":
        if instance.runtime_id in facts.drained or age >= timeouts.drain_s:
            plan.actions.append(Stop(instance.id))
        plan.wake_in(timeouts.drain_s - age)
    elif instance.kind == "build":
        plan.actions.append(Stop(instance.id, why="builder died"))
    elif instance.id in facts.failed:
        plan.actions.append(Fail(instance.id, facts.failed[instance.id]))
    elif instance.state == "starting" and instance.kind != "process":
        plan.actions.append(MarkUp(instance.id))
    elif instance.state == "starting" and instance.id in facts.ready:
        answer = facts.ready[instance.id]
        plan.actions.append(MarkUp(instance.id, answer.note, answer.to_https))


def _follow_exited(plan: Plan, instance: Instance, age: float) -> None:
    """Reap an exited container. That of an attached run stays a while, so that its client can read the last output."""
    attached = instance.kind == "run" and not instance.detail.get("detach")
    if not attached or (instance.state == "stopping" and age >= RUN_LINGER_S):
        plan.actions.append(Reap(instance.id))
    elif instance.state != "stopping":
        plan.actions.append(Stop(instance.id, why=""))
    else:
        plan.wake_in(RUN_LINGER_S - age)


def _destroy(plan: Plan, state: AppState, facts: Facts) -> None:
    reaped = {action.id for action in plan.actions if isinstance(action, Reap)}
    for instance in state.live:
        if instance.id in reaped:
            continue
        if (facts.containers or {}).get(instance.runtime_id, "running") != "running":
            plan.actions.append(Reap(instance.id))  # nobody reads the last output of a run any more
        elif instance.state != "stopping":
            plan.actions.append(Stop(instance.id, why="app destroyed"))
        elif facts.age_s(instance.id) >= DESTROY_STOP_S:
            plan.actions.append(Kill(instance.id))
        plan.wake_in(DESTROY_STOP_S)
    if not state.live and state.app.id not in facts.removing:
        plan.actions.append(RemoveApp(state.app.id))


def _retire(plan: Plan, state: AppState) -> None:
    """End processes that belong neither to the serving release, nor to the canary, nor to the unfinished deployment,
    and those in slots above the wanted count."""
    touched = _touched(plan)
    wanted, new_wanted = set(state.wanted(state.image)), set(state.wanted(state.new_image))
    canary, canary_wanted = state.canary, set(state.wanted_canary())
    for instance in state.live:
        if instance.id in touched or instance.kind not in ("process", "release"):
            continue
        slot = instance.slot
        if instance.canary:
            if (
                canary is None
                or instance.release_number != canary.release_number
                or slot not in canary_wanted
            ):
                _leave(plan, instance)
        elif state.deployment is not None and instance.deployment_id == state.deployment.id:
            if instance.kind == "process" and slot not in new_wanted:
                _leave(plan, instance)
        elif (
            instance.kind == "release"
            or instance.release_number != state.app.release_number
            or slot not in wanted
        ):
            _leave(plan, instance)


def _keep_running(plan: Plan, state: AppState, now: float) -> None:
    """Fill the slots of the serving release and of the canary."""
    if state.release is not None:
        _fill(plan, state, state.wanted(state.image), state.release.number, now)
    if state.canary is not None:
        _fill(plan, state, state.wanted_canary(), state.canary.release_number, now, canary=True)


def _fill(
    plan: Plan, state: AppState, wanted: list[Slot], number: int, now: float, *, canary: bool = False
) -> None:
    """One fresh instance of release `number` in every wanted slot; stale ones go when it is up.

    An instance is stale when it started before the last restart that people asked for.
    """
    touched = _touched(plan)
    by_slot = _running_by_slot(state, number, canary=canary)
    # A slot is being replaced while a stale and a fresh instance run side by side. No more than a quarter of a type's
    # slots are at a time, so that a restart neither needs twice the memory nor leaves the type without instances.
    replacing = Counter(
        type
        for (type, _), rows in by_slot.items()
        if any(i.restart_token < state.app.restart_token for i in rows) and _fresh(rows, state)
    )
    counts = Counter(type for type, _ in wanted)
    for slot in wanted:
        rows = by_slot.get(slot, [])
        fresh = _fresh(rows, state)
        stale = [i for i in rows if i not in fresh and i.id not in touched]
        up = [i for i in fresh if i.state == "up"]
        if up:
            # Should a slot ever have two fresh ones that are up, the first stays.
            for instance in [*stale, *(i for i in fresh if i is not up[0] and i.id not in touched)]:
                _leave(plan, instance)
        elif not fresh:
            type = slot[0]
            if stale and replacing[type] >= _surge(counts[type]):
                continue
            start = Start(state.app.id, "process", WEB if canary else type, slot[1], number, canary=canary)
            if _start(plan, state, slot, start, now):
                replacing[type] += 1


def _running_by_slot(state: AppState, number: int, *, canary: bool) -> dict[Slot, list[Instance]]:
    """Instances of the release that are not on their way out."""
    by_slot: dict[Slot, list[Instance]] = {}
    for instance in state.live:
        of_release = (instance.release_number, instance.canary) == (number, canary)
        if instance.kind == "process" and of_release and instance.state in ("starting", "up"):
            by_slot.setdefault(instance.slot, []).append(instance)
    return by_slot


def _start(plan: Plan, state: AppState, slot: Slot, start: Start, now: float) -> bool:
    history = tuple(i for i in state.ended.get(slot, ()) if i.restart_token >= state.app.restart_token)
    delay = restart_delay_s(history, start.release_number)
    since = now - (history[0].ended_at or now) if history else 0.0
    if delay and 0 <= since < delay:
        plan.wake_in(delay - since)
        return False
    plan.actions.append(start)
    return True


def _fresh(rows: list[Instance], state: AppState) -> list[Instance]:
    return [i for i in rows if i.restart_token >= state.app.restart_token]


def _surge(quantity: int) -> int:
    """How many instances of a type a rolling restart replaces at a time."""
    return max(1, -(-quantity // 4))


def _leave(plan: Plan, instance: Instance) -> None:
    """Begin its end: a web instance that had traffic drains first."""
    if instance.state == "up" and instance.type == WEB:
        plan.actions.append(Drain(instance.id))
    elif instance.state in ("starting", "up"):
        plan.actions.append(Stop(instance.id))


def _touched(plan: Plan) -> set[int]:
    return {action.id for action in plan.actions if isinstance(action, Reap | Stop | Kill | Drain | Fail)}
