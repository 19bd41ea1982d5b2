"""Perform the actions of a plan: first the rows, then the spawner, then a line in the app's log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from paas import logs
from paas.converge import app_lines, diagnosis
from paas.converge.diagnosis import Subject
from paas.converge.link import Link
from paas.converge.plan import (
    Action,
    Advance,
    Drain,
    Fail,
    Kill,
    MarkUp,
    Reap,
    RemoveApp,
    Start,
    Stop,
    Terminate,
)
from paas.nouns.errors import DeployFailed
from paas.nouns.lifecycle import WrongTransition
from paas.nouns.model import Image, Instance, Release
from paas.nouns.startup import STOP_SIGNAL
from paas.runs.specs import RELEASE_TYPE, WEB, Origin, limits_of, process_spec, release_spec
from paas.store import Store, Tx, apps, canaries, deployments, desired, events, images, instances, releases
from runtime.client import SpawnerError
from runtime.home import Layout
from runtime.spec import Box, Order

log = logging.getLogger("converge.act")

SHOWN_LINE_CHARACTERS = 500


class Actions:
    """Performs the actions of a plan. Every method may be repeated, because the rows record what is done."""

    def __init__(
        self,
        store: Store,
        link: Link,
        layout: Layout,
        *,
        release_timeout_s: float,
        starting: Callable[[Instance], None] = lambda instance: None,
        advanced: Callable[[Advance], None] = lambda action: None,
        remove_app: Callable[[str], None] = lambda app_id: None,
    ) -> None:
        self._store, self._link, self._layout = store, link, layout
        self._release_timeout_s, self._starting = release_timeout_s, starting
        self._advanced, self._remove_app = advanced, remove_app
        self._killed: set[int] = set()
        self._signalled: set[int] = set()

    def perform(self, action: Action) -> None:
        """Raises SpawnerDown when the spawner is away; the rows then record what is left to do."""
        log.info("action=%s", described(action))
        try:
            match action:
                case Start():
                    self._start(action)
                case MarkUp():
                    self._mark_up(action)
                case Fail():
                    self._fail(action)
                case Drain():
                    with self._store.write() as tx:
                        instances.set_state(tx, action.id, "draining")
                case Stop():
                    self._stop(action)
                case Terminate():
                    self._terminate(action)
                case Kill():
                    self._kill(action)
                case Reap():
                    self._reap(action)
                case Advance():
                    self._advance(action)
                case RemoveApp():
                    self._remove_app(action.app_id)
        except WrongTransition as error:
            log.warning("action=%s overtaken reason=%s", described(action), error)

    @property
    def signalled(self) -> frozenset[int]:
        """Instances that this loop has sent SIGTERM or SIGKILL."""
        return frozenset(self._signalled)

    def last_lines(self, instance: Instance) -> tuple[str, ...]:
        """The messages of the last lines the instance printed."""
        query = logs.Query(source="app", instances=frozenset([instance.runtime_id]))
        found = logs.tail(self._layout, instance.app_id, query, diagnosis.EVIDENCE_LINES)
        return tuple(logs.message_of(line)[:SHOWN_LINE_CHARACTERS] for line in found)

    def say(self, instance: Instance, text: str) -> None:
        """A `paas[web.1]: …` line."""
        logs.platform_line(self._layout, instance.app_id, instance.name, text)

    def _start(self, action: Start) -> None:
        with self._store.write() as tx:
            origin = self._origin(tx, action)
            if origin is None:
                return
            app, image = origin.app, origin.image
            instance = instances.create(
                tx,
                app.id,
                kind=action.kind,
                type=action.type,
                number=action.number,
                release_number=action.release_number,
                deployment_id=action.deployment_id,
                restart_token=app.restart_token,
                canary=action.canary,
            )
        self._starting(instance)
        self.say(instance, f"Starting process with command `{image.processes[action.type]}`")
        try:
            order, box = self._spec(origin, instance)
            with self._link.calling():
                started = self._link.client.create(order, box)
        except (SpawnerError, ValueError) as error:
            message = error.message if isinstance(error, SpawnerError) else str(error)
            hint = error.hint if isinstance(error, SpawnerError) else ""
            subject = self._subject(instance, origin.release)
            self._not_started(instance, diagnosis.not_started(subject, message, hint))
            return
        self._link.started(instance.runtime_id)
        with self._store.write() as tx:
            port = image.web_port if instance.type == WEB else None
            instances.started(tx, instance.id, address=started.address, port=port)

    def _origin(self, tx: Tx, action: Start) -> Origin | None:
        """Read in the transaction that makes the instance; None if the rows are gone."""
        app = apps.by_id(tx, action.app_id)
        release = releases.get(tx, app.id, action.release_number) if app else None
        origin = desired.origin(tx, app, release) if app else None
        return origin if origin is not None and action.type in origin.image.processes else None

    def _spec(self, origin: Origin, instance: Instance) -> tuple[Order, Box]:
        base = self._link.block_base
        if instance.kind == RELEASE_TYPE:
            return release_spec(origin, instance, block_base=base, wall_s=self._release_timeout_s)
        return process_spec(origin, instance, block_base=base)

    def _not_started(self, instance: Instance, error: DeployFailed) -> None:
        with self._store.write() as tx:
            instances.add_detail(tx, instance.id, {"diagnosis": error.to_json()})
            instances.ended(tx, instance.id, cause=error.cause)
        self.say(instance, error.message)
        self._delete(instance)

    def _mark_up(self, action: MarkUp) -> None:
        note = "" if action.to_https else action.note
        with self._store.read() as tx:
            instance = instances.get(tx, action.id)
        reason = diagnosis.reason(self.last_lines(instance)) if note else ""
        with self._store.write() as tx:
            instance = instances.healthy(tx, action.id)
            if action.note:
                told = {"answered": action.note, "to_https": action.to_https}
                instances.add_detail(tx, action.id, {**told, "reason": reason})
            if instance.deployment_id is not None and instance.kind == "process":
                deployment = deployments.get(tx, instance.deployment_id)
                if deployment.finished_at is None:
                    for line in app_lines.up(instance, note):
                        deployments.add_line(tx, deployment.id, line)
        self.say(instance, "State changed from starting to up")
        if note:
            self.say(instance, f"Warning: {note}")

    def _fail(self, action: Fail) -> None:
        with self._store.write() as tx:
            before = instances.get(tx, action.id)
            instances.add_detail(tx, action.id, {"diagnosis": action.error.to_json()})
            instance = instances.set_state(tx, action.id, "stopping")
        late = action.error.cause.startswith(("never", "health check"))
        code = "Error R10 (Boot timeout): " if late else ""
        self.say(instance, code + action.error.message)
        self.say(instance, f"State changed from {before.state} to crashed")
        self._signalled.add(instance.id)
        with self._link.calling():
            self._link.client.kill(instance.runtime_id)

    def _stop(self, action: Stop) -> None:
        with self._store.write() as tx:
            instances.stop(tx, action.id, action.why)

    def _terminate(self, action: Terminate) -> None:
        with self._store.read() as tx:
            instance = instances.get(tx, action.id)
            image = _image(tx, instance)
        name = image.stop_signal if image is not None else STOP_SIGNAL
        with self._link.calling():
            self._link.client.signal(instance.runtime_id, name, all=True)
        self._signalled.add(action.id)
        self.say(instance, f"Stopping all processes with SIG{name}")

    def _kill(self, action: Kill) -> None:
        with self._store.read() as tx:
            instance = instances.get(tx, action.id)
        if action.id not in self._killed:
            self._killed.add(action.id)
            self.say(instance, "Error R12 (Exit timeout): did not stop in time, killed with SIGKILL")
        with self._link.calling():
            self._link.client.kill(instance.runtime_id)

    def _reap(self, action: Reap) -> None:
        with self._store.read() as tx:
            instance = instances.get(tx, action.id)
            number = instance.release_number
            release = releases.get(tx, instance.app_id, number) if number is not None else None
        seen = self._link.seen.get(instance.runtime_id)
        exit = None if action.lost or seen is None or seen.exit is None else asdict(seen.exit)
        error = self._why_ended(instance, release, exit, lost=action.lost)
        detail: dict[str, Any] = {}
        if error is not None and "diagnosis" not in instance.detail and not instance.detail.get("why"):
            detail = {"why": error.cause} if action.lost else {"diagnosis": error.to_json()}
        cause = _cause(instance, error)
        with self._store.write() as tx:
            if detail:
                instances.add_detail(tx, instance.id, detail)
            instances.ended(tx, instance.id, cause=cause, exit=exit)
            if detail.get("diagnosis") and instance.kind == "process":
                events.add(
                    tx, instance.app_id, "paas", "instance.crash", {"instance": instance.name, "cause": cause}
                )
        self._killed.discard(instance.id)
        self._signalled.discard(instance.id)
        for text in app_lines.ended(instance, exit, error):
            self.say(instance, text)
        self._delete(instance)

    def _why_ended(
        self, instance: Instance, release: Release | None, exit: dict[str, Any] | None, *, lost: bool
    ) -> DeployFailed | None:
        """The diagnosis of an end; None if the end was expected."""
        if lost:
            return diagnosis.lost(self._subject(instance, release))
        status = (exit or {}).get("status")
        if instance.kind != "process" and status == 0:
            return None
        if instance.detail.get("why"):
            return None
        during = "during boot" if instance.state == "starting" and instance.kind == "process" else ""
        subject = self._subject(instance, release, self.last_lines(instance))
        with self._store.read() as tx:
            image = _image(tx, instance)
        own = image is not None and image.startup is not None
        return diagnosis.exited(replace(subject, own_start=own), exit or {}, during=during)

    def _advance(self, action: Advance) -> None:
        with self._store.write() as tx:
            deployment = deployments.get(tx, action.deployment_id)
            canary = canaries.of_app(tx, deployment.app_id)
            for line in action.lines:
                deployments.add_line(tx, deployment.id, line)
            deployment = deployments.advance(tx, deployment.id, action.state, action.error)
            if action.state in ("draining", "failed", "cancelled"):
                verb = "succeeded" if action.state == "draining" else action.state
                detail = {
                    "release": deployment.release_number,
                    "cause": (action.error or {}).get("cause", ""),
                }
                events.add(tx, deployment.app_id, "paas", f"release.{verb}", detail)
        for text in app_lines.advanced(action, deployment, canary):
            logs.platform_line(self._layout, deployment.app_id, "deploy", text)
        self._advanced(action)

    def _subject(self, instance: Instance, release: Release | None, lines: tuple[str, ...] = ()) -> Subject:
        return Subject(
            name=instance.name if instance.kind != RELEASE_TYPE else "The release command",
            type=instance.type,
            limits=limits_of(release, instance.type),
            lines=lines,
        )

    def _delete(self, instance: Instance) -> None:
        with self._link.calling():
            self._link.client.delete(instance.runtime_id)
        self._link.deleted(instance.runtime_id)

    def take_addresses(self, addresses: Mapping[int, str]) -> int:
        """Write the addresses of adopted containers on their rows; returns how many."""
        if addresses:
            with self._store.write() as tx:
                for id, address in addresses.items():
                    instance = instances.get(tx, id)
                    image = _image(tx, instance)
                    port = image.web_port if image is not None and instance.type == WEB else None
                    instances.started(tx, id, address=address, port=port)
        return len(addresses)

    def remove_orphan(self, runtime_id: str) -> None:
        """Delete a container that no row names. Raises SpawnerDown."""
        log.warning("orphan container=%s removed", runtime_id)
        try:
            with self._link.calling():
                self._link.client.delete(runtime_id)
        except SpawnerError as error:
            log.error("orphan container=%s reason=%s", runtime_id, error.message)
            return
        self._link.deleted(runtime_id)


def described(action: Action) -> str:
    """The action for the operator's log, which never repeats an app's output."""
    values = vars(action)
    words = [
        f"{name}={values[name]}" for name in values if name not in ("lines", "error", "note", "to_https")
    ]
    if isinstance(action, Fail):
        words.append(f"cause={action.error.cause!r}")
    if isinstance(action, Advance) and action.error:
        words.append(f"cause={action.error.get('cause')!r}")
    return " ".join([type(action).__name__.lower(), *words])


def _image(tx: Tx, instance: Instance) -> Image | None:
    """What an instance runs, unless its release or that image is no longer kept."""
    number = instance.release_number
    return images.of(tx, releases.get(tx, instance.app_id, number)) if number is not None else None


def _cause(instance: Instance, error: DeployFailed | None) -> str:
    found = instance.detail.get("diagnosis")
    if isinstance(found, dict):
        return str(found.get("cause", ""))
    why = instance.detail.get("why")
    if why:
        return str(why)
    return error.cause if error is not None else ""
