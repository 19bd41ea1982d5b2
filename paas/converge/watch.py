"""Watches instances boot and live: turns probes and samples of the kernel's data into facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from paas.converge import diagnosis
from paas.converge.health import SETTLE_S, Answer, Check, boot_check, liveness_check
from paas.converge.link import SpawnerDown, Stats
from paas.converge.probe import BootProbe, LivenessProbe, Outcome
from paas.nouns.errors import DeployFailed
from paas.nouns.model import App, Image, Instance, Release
from paas.runs.specs import limits_of
from runtime.client import SpawnerError
from runtime.reactor import Reactor, Timer

SAMPLE_S = 0.5


class Sampler(Protocol):
    """Kernel facts about a container. Both raise SpawnerDown or SpawnerError without an answer."""

    def sockets(self, runtime_id: str) -> tuple[tuple[str, int], ...]: ...

    def stats(self, runtime_id: str) -> Stats: ...


@dataclass
class _Boot:
    instance: Instance
    subject: diagnosis.Subject
    check: Check
    began: float
    probe: BootProbe | None = None
    timer: Timer | None = None
    sockets: tuple[tuple[str, int], ...] | None = None
    elsewhere_since: float | None = None
    accepting_since: float | None = None
    pids: frozenset[int] = frozenset()
    deaths: int = 0
    deaths_accepting: int = 0
    stats: Stats | None = None
    done: bool = False

    def stop(self) -> None:
        self.done = True
        if self.probe is not None:
            self.probe.stop()
        if self.timer is not None:
            self.timer.cancel()

    def evidence(self, now: float) -> diagnosis.Boot:
        note, closed, hopeless = "", 0, False
        if self.probe is not None and self.probe.last is not None:
            closed, answer = self.probe.closed, self.probe.last.answer
            note, hopeless = (answer.note, answer.hopeless) if answer else ("", False)
        return diagnosis.Boot(
            age_s=now - self.began,
            sockets=self.sockets,
            elsewhere_s=0.0 if self.elsewhere_since is None else now - self.elsewhere_since,
            accepting_s=0.0 if self.accepting_since is None else now - self.accepting_since,
            deaths=self.deaths,
            deaths_accepting=self.deaths_accepting,
            oom_kills=self.stats.oom_kills if self.stats else 0,
            peak_memory_bytes=self.stats.peak_memory_bytes if self.stats else 0,
            closed=closed,
            note=note,
            hopeless=hopeless,
        )


@dataclass(frozen=True)
class Candidate:
    """An instance to watch, with the rows that say how."""

    app: App
    release: Release
    image: Image
    instance: Instance
    host: str
    age_s: float
    pushed: bool = False


@dataclass
class Watch:
    """Keeps a probe on every instance that boots and on every one whose app asks for liveness checks.

    `ready` and `failed` fill up by instance id; `changed` is called when they do. `last_lines` reads the end of
    an instance's log.
    """

    reactor: Reactor
    sampler: Sampler
    boot_timeout_s: float
    last_lines: Callable[[Instance], tuple[str, ...]]
    changed: Callable[[], None]
    ready: dict[int, Answer] = field(default_factory=dict)
    failed: dict[int, DeployFailed] = field(default_factory=dict)
    _boots: dict[int, _Boot] = field(default_factory=dict)
    _lives: dict[int, LivenessProbe | None] = field(default_factory=dict)
    _sampling: Timer | None = None

    def sync(self, booting: Iterable[Candidate], living: Iterable[Candidate]) -> None:
        """Watch exactly these: instances in `starting` whose container runs, and those that are up."""
        boots, lives = {c.instance.id: c for c in booting}, {c.instance.id: c for c in living}
        for id in [id for id in self._boots if id not in boots]:
            self._boots.pop(id).stop()
        for id in [id for id in self._lives if id not in lives]:
            probe = self._lives.pop(id)
            if probe is not None:
                probe.stop()
        for id in [id for id in self.ready if id not in boots]:
            del self.ready[id]
        for id in [id for id in self.failed if id not in boots and id not in lives]:
            del self.failed[id]
        for id, candidate in boots.items():
            if id not in self._boots:
                self._boots[id] = self._begin(candidate)
        for id, candidate in lives.items():
            if id not in self._lives:
                self._lives[id] = self._live(candidate)
        if self._boots and self._sampling is None:
            self._sampling = self.reactor.later(SAMPLE_S, self._sample)

    def close(self) -> None:
        self.sync((), ())

    def _begin(self, candidate: Candidate) -> _Boot:
        instance = candidate.instance
        check = boot_check(candidate.image, instance.type, pushed=candidate.pushed)
        boot = _Boot(
            instance, self._subject(candidate, check.port), check, time.monotonic() - candidate.age_s
        )
        if check.kind == "running" or not instance.address:
            left = max(0.0, SETTLE_S - candidate.age_s)
            boot.timer = self.reactor.later(left, lambda: self._is_ready(boot, Answer(True)))
        else:
            boot.probe = BootProbe(
                self.reactor,
                instance.address,
                check,
                candidate.host,
                lambda answer: self._is_ready(boot, answer),
            )
        return boot

    def _live(self, candidate: Candidate) -> LivenessProbe | None:
        instance = candidate.instance
        check = liveness_check(candidate.image, instance.type)
        if check is None or not instance.address:
            return None

        def failed(outcome: Outcome) -> None:
            what = outcome.answer.note if outcome.answer and outcome.answer.note else outcome.kind
            subject = self._subject(candidate, check.port, self.last_lines(instance))
            self.failed[instance.id] = diagnosis.stopped_living(subject, what)
            self.changed()

        return LivenessProbe(self.reactor, instance.address, check, candidate.host, failed)

    def _subject(self, candidate: Candidate, port: int, lines: tuple[str, ...] = ()) -> diagnosis.Subject:
        instance = candidate.instance
        limits = limits_of(candidate.release, instance.type)
        return diagnosis.Subject(instance.name, instance.type, limits, lines, port)

    def _is_ready(self, boot: _Boot, answer: Answer) -> None:
        if not boot.done:
            boot.done = True
            self.ready[boot.instance.id] = answer
            self.changed()

    def _sample(self) -> None:
        self._sampling = None
        waiting = [boot for boot in self._boots.values() if not boot.done and boot.probe is not None]
        for boot in waiting:
            self._sample_one(boot)
        if waiting:
            self._sampling = self.reactor.later(SAMPLE_S, self._sample)

    def _sample_one(self, boot: _Boot) -> None:
        id, now = boot.instance.runtime_id, time.monotonic()
        try:
            sockets, stats = self.sampler.sockets(id), self.sampler.stats(id)
        except (SpawnerDown, SpawnerError):
            return
        listening = diagnosis.accepts(sockets, boot.check.port, boot.instance.address)
        boot.sockets = sockets
        gone = len(boot.pids - stats.pids)
        boot.deaths += gone
        boot.deaths_accepting += gone if boot.accepting_since else 0
        boot.accepting_since = (boot.accepting_since or now) if listening else None
        boot.elsewhere_since = (boot.elsewhere_since or now) if sockets and not listening else None
        boot.pids, boot.stats = stats.pids, stats
        if diagnosis.conclusive(boot.evidence(now), boot.subject, self.boot_timeout_s) is not None:
            subject = replace(boot.subject, lines=self.last_lines(boot.instance))
            failure = diagnosis.conclusive(boot.evidence(now), subject, self.boot_timeout_s)
            assert failure is not None
            boot.stop()
            self.failed[boot.instance.id] = failure
            self.changed()
