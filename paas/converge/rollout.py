"""A deployment's next step, from rows and facts. Pure, and right from any state: nothing is remembered.

The states of a deployment. `paas/nouns/lifecycle.py` has the table that the store enforces.

pending     The release is made and nothing of it runs. The api writes this row (`release/deployment.py`); every later state is
            entered here, because the loop performs an Advance. Follows: releasing, or starting without a release command.
releasing   The release command of a push runs in an instance of its own. Its success leads to starting, its failure to failed.
starting    The new instances start beside the old ones. When each is up: switching. One that fails, or the time: failed.
switching   The router's table names the new instances (`converge/routers.py` offers it). When every worker has acknowledged
            it, or when nothing is routed: draining. Without an acknowledgement: failed.
draining    The commit point: the new release serves, and nothing takes it back. The old instances finish their requests
            (`plan.py` drains and stops them). When they are gone, or after DRAIN_SHOWN_S: succeeded.
succeeded   An end.
failed      An end before the commit point. The old release serves as before; the store gives it back its limits, and the
            plan stops the new instances, because nothing wants them.
cancelled   As failed, but a person asked for it: a request counts in each state before draining.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from paas.converge.plan import Advance, Plan, Start
from paas.converge.world import AppState, Facts
from paas.nouns.errors import Cancelled, DeployFailed
from paas.nouns.model import Deployment, Instance
from paas.nouns.text import WARNING
from paas.runs.desired import Slot
from paas.runs.specs import RELEASE_TYPE, WEB

DRAIN_SHOWN_S = 2.0
"""How long a deployment waits for the old instances to drain before it has succeeded; they drain on either way."""
ROUTER_ACK_S = 20.0
"""How long the router's workers may take to acknowledge the table of a switch."""
CONVERGE_SLACK_S = 30.0
"""How much longer than one boot all instances of a deployment may take: they start one after the other."""


@dataclass(frozen=True)
class Traffic:
    """Requests that the router answered for the app since the switch began."""

    requests: int
    failed: int


def next_step(
    state: AppState,
    facts: Facts,
    *,
    now: float,
    boot_timeout_s: float,
    url: str = "",
    traffic: Traffic | None = None,
) -> Plan:
    """Return the next step of the app's unfinished deployment; an empty plan waits for an event."""
    deployment = state.deployment
    plan = Plan()
    if deployment is None or state.app.destroying or facts.containers is None:
        return plan
    if state.new_release is None or state.new_image is None:
        error = DeployFailed("The release's image is gone.", "Deploy it again.", cause="image gone")
        return Plan([Advance(deployment.id, "failed", error=error.to_json())])
    if deployment.state == "draining":
        _draining(plan, state, facts, now, url, traffic)
    elif deployment.cancel_requested:  # behind `draining`: after the commit point a cancel has no effect
        error_json = Cancelled("Cancelled; nothing was changed.", cause="cancelled").to_json()
        plan.actions.append(Advance(deployment.id, "cancelled", error=error_json))
    elif deployment.state == "pending":
        _pending(plan, state, deployment)
    elif deployment.state == "releasing":
        _releasing(plan, state, deployment)
    elif deployment.state == "starting":
        _starting(plan, state, deployment, facts, boot_timeout_s)
    elif deployment.state == "switching":
        _switching(plan, state, deployment, facts)
    return plan


def _pending(plan: Plan, state: AppState, deployment: Deployment) -> None:
    assert state.new_image is not None
    lines = [f"-----> Release v{deployment.release_number}"]
    command = state.new_image.processes.get(RELEASE_TYPE)
    if deployment.push and command:
        lines.append(f"       Running release command: {command}")
        plan.actions.append(Advance(deployment.id, "releasing", tuple(lines)))
    else:
        plan.actions.append(Advance(deployment.id, "starting", (*lines, *_starting_lines(state))))


def _starting_lines(state: AppState) -> tuple[str, ...]:
    counts = Counter(kind for kind, _ in state.wanted(state.new_image))
    first = "       Nothing to start"
    if counts:
        first = "-----> Starting " + " ".join(f"{kind}={count}" for kind, count in counts.items())
    return (first, *_idle_lines(state))


def _idle_lines(state: AppState) -> Iterator[str]:
    """Process types that this release introduces with a count of 0, with the command that starts one."""
    assert state.new_image is not None
    known = state.image.processes if state.image else {}
    for kind in state.new_image.processes:
        entry = state.formation.get(kind)
        if kind not in known and kind != RELEASE_TYPE and entry is not None and not entry.quantity:
            yield f"       No {kind} is started; start one with: paas scale {kind}=1 -a {state.app.name}"


def _releasing(plan: Plan, state: AppState, deployment: Deployment) -> None:
    runs = [i for i in state.tried if i.kind == "release"]
    if not runs:
        number = deployment.release_number
        plan.actions.append(Start(state.app.id, "release", RELEASE_TYPE, number, number, deployment.id))
        return
    last = runs[-1]
    if last.ended_at is None:
        return
    if not last.cause:
        plan.actions.append(Advance(deployment.id, "starting", _starting_lines(state)))
    else:
        error = _diagnosis(last) or _interrupted(last.cause)
        plan.actions.append(Advance(deployment.id, "failed", error=error))


def _interrupted(cause: str) -> dict[str, object]:
    return DeployFailed(f"The release command did not finish: {cause}.", "Push again.", cause=cause).to_json()


def _starting(
    plan: Plan, state: AppState, deployment: Deployment, facts: Facts, boot_timeout_s: float
) -> None:
    for instance in state.tried:
        error = _diagnosis(instance)
        if instance.kind == "process" and error is not None:
            error = _with_way_out(error, instance, state.app.name)
            plan.actions.append(Advance(deployment.id, "failed", error=error))
            return
    app_id, candidates = state.app.id, _candidates(state)
    wanted = state.wanted(state.new_image)
    for kind, number in wanted:
        if (kind, number) not in candidates:
            plan.actions.append(
                Start(app_id, "process", kind, number, deployment.release_number, deployment.id)
            )
    if all(slot in candidates and candidates[slot].state == "up" for slot in wanted):
        plan.actions.append(Advance(deployment.id, "switching"))
    longest = boot_timeout_s + CONVERGE_SLACK_S
    if not plan.actions and facts.step_age_s(deployment.id) > longest:
        late = [f"{kind}.{n}" for kind, n in wanted if candidates[(kind, n)].state != "up"]
        message = f"{', '.join(late)} did not come up within {longest:.0f} s."
        failed = DeployFailed(message, cause="boot timeout")
        plan.actions.append(Advance(deployment.id, "failed", error=failed.to_json()))


def _switching(plan: Plan, state: AppState, deployment: Deployment, facts: Facts) -> None:
    for instance in state.tried:
        error = _diagnosis(instance)
        if instance.kind == "process" and error is not None:
            plan.actions.append(Advance(deployment.id, "failed", error=error))
            return
    # Without web instances, old or new, the table does not change, and no worker need acknowledge it.
    if facts.acked or not _has_web(state):
        plan.actions.append(Advance(deployment.id, "draining", _canary_lines(state, deployment)))
    elif facts.step_age_s(deployment.id) > ROUTER_ACK_S:
        message = f"The router did not take the new table within {ROUTER_ACK_S:.0f} s."
        failed = DeployFailed(message, "See: paas server:status", cause="router unavailable")
        plan.actions.append(Advance(deployment.id, "failed", error=failed.to_json()))
    else:
        plan.wake_in(0.5)


def _canary_lines(state: AppState, deployment: Deployment) -> tuple[str, ...]:
    """A deployment ends the canary, unless it is the canary's own."""
    new, tried = state.new_release, state.canary_release
    if tried is None or new is None:
        return ()
    if (new.image_digest, new.config_number) == (tried.image_digest, tried.config_number):
        return (f"-----> Canary v{tried.number} promoted",)
    return (f"{WARNING}v{new.number} ends the canary v{tried.number}",)


def _draining(
    plan: Plan, state: AppState, facts: Facts, now: float, url: str, traffic: Traffic | None
) -> None:
    deployment = state.deployment
    assert deployment is not None
    waited = facts.step_age_s(deployment.id)
    leaving = [
        i
        for i in state.live
        if i.kind == "process"
        and i.release_number != deployment.release_number
        and i.state in ("up", "draining", "starting")
    ]
    # The answer to the push says how the switch went, so it waits for the drain, but not for a long request.
    if leaving and waited < DRAIN_SHOWN_S:
        plan.wake_in(DRAIN_SHOWN_S - waited)
        return
    number, old = deployment.release_number, deployment.from_release
    if not state.wanted(state.new_image):
        lines = [f"-----> v{number} is released, nothing runs: no process type is scaled up and started"]
    elif not _has_web(state):
        lines = [f"-----> v{number} is running"]
    else:
        change = f"-----> Traffic switched to v{number}"
        if old is not None and leaving:
            change += f", v{old} still answers requests in flight"
        elif old is not None:
            change += f", v{old} drained in {waited:.1f} s"
        took = f"{max(0.0, now - (state.began_at or deployment.created_at)):.1f} s"
        counted = ""
        if old is not None and traffic is not None:
            counted = f" · {traffic.requests} requests during the switch, {traffic.failed} failed"
        lines = [change, *_live_lines(state, url, f"{took}{counted}")]
    plan.actions.append(Advance(deployment.id, "succeeded", tuple(lines)))


def _live_lines(state: AppState, url: str, measured: str) -> list[str]:
    """That the app is live, and loudly what its own first answer was if that is no page."""
    web = (i.detail for i in state.tried if i.type == WEB and i.ended_at is None)
    detail = next((detail for detail in web if detail.get("answered")), {})
    note, to_https = detail.get("answered", ""), detail.get("to_https", False)
    if not note or (state.has_certificate and to_https):
        return [f"       {url} is live · {measured}"]
    if to_https:
        return [
            f"       {url} is live · {measured}",
            f"{WARNING}{note}, where no certificate of the app answers yet: paas certs:auto:enable DOMAIN -a {state.app.name}",
        ]
    return [
        f"{WARNING}{url} serves v{state.app.release_number or ''}, but {note} · {measured}",
        *(f"{WARNING}{line}" for line in str(detail.get("reason") or "").splitlines()),
        f"{WARNING}{'More' if detail.get('reason') else 'Find the reason'}: paas logs -a {state.app.name}",
    ]


def _with_way_out(error: dict[str, object], instance: Instance, app: str) -> dict[str, object]:
    """The failure of a process beside web, with the command that lets pushes go on without it."""
    if instance.type == WEB:
        return error
    way_out = f"To push without it: paas scale {instance.type}=0 -a {app}"
    return {**error, "hint": "\n".join(text for text in (str(error.get("hint", "")), way_out) if text)}


def _has_web(state: AppState) -> bool:
    return any(kind == WEB for kind, _ in state.wanted(state.new_image)) or any(
        i.type == WEB and i.kind == "process" and i.state in ("up", "draining") for i in state.live
    )


def _candidates(state: AppState) -> dict[Slot, Instance]:
    """The live instances of the deployment, by slot."""
    return {
        i.slot: i
        for i in state.tried
        if i.kind == "process" and i.ended_at is None and i.state in ("starting", "up")
    }


def _diagnosis(instance: Instance) -> dict[str, object] | None:
    found = instance.detail.get("diagnosis")
    return found if isinstance(found, dict) else None
