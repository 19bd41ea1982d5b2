"""From evidence to a diagnosis: the cause class first, then the facts, then what to do. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from buildpacks.bootfailures import BOOT_HINTS
from buildpacks.failurehint import named_cause
from paas.converge import unstartable
from paas.nouns.errors import DeployFailed
from paas.nouns.names import LIMITS
from paas.nouns.startup import WEB_PORT
from paas.nouns.units import shown_memory
from runtime.spec import MIB, Limits

ELSEWHERE_S = 5.0
"""Listening on $PORT but only for the app itself, or for all on another port, for this long is conclusive."""
PRIVATE_ELSEWHERE_S = 10.0
"""A port that only the app itself can reach may be a helper's, while the server still boots."""
CRASH_LOOP_DEATHS = 5
CRASH_LOOP_S = 3.0
OOM_LOOP_KILLS = 3
LOG_LINES = 20
EVIDENCE_LINES = 400
"""Lines to read for a diagnosis, which shows the last 20 that matter and names exceptions of all."""
NAMED_EXCEPTIONS = 3
ANOTHER_PATH = 'If / is meant to answer so, ask for another path in app.json: {"healthchecks": {"web": [{"path": "/PATH"}]}}'

_SHELLS = {126: "cannot be executed", 127: "is not found"}
_ANY_ADDRESS = ("0.0.0.0", "::", "*")
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"(Uncaught )?([A-Za-z_][\w.]*\.)?([A-Z]\w*)?(Error|Exception)( \[\w+\])?: \S")


@dataclass(frozen=True)
class Boot:
    """What was seen of an instance that is still booting. `sockets` are its listening (address, port) pairs,
    None while unknown; `elsewhere_s` is how long it has listened, but not where it should; `accepting_s` how
    long its port has accepted connections; `deaths` counts processes inside that ended, `deaths_accepting` those
    since the port accepts; `closed` connections hung up on; `note` what was wrong with the last answer, which is `hopeless` when none that
    follows will differ."""

    age_s: float
    sockets: tuple[tuple[str, int], ...] | None = None
    elsewhere_s: float = 0.0
    accepting_s: float = 0.0
    deaths: int = 0
    deaths_accepting: int = 0
    oom_kills: int = 0
    peak_memory_bytes: int = 0
    closed: int = 0
    note: str = ""
    hopeless: bool = False


@dataclass(frozen=True)
class Subject:
    """The instance a diagnosis is about: `web.1`, its type, quotas and last log lines (messages only)."""

    name: str
    type: str
    limits: Limits
    lines: tuple[str, ...] = ()
    port: int = WEB_PORT
    own_start: bool = False
    """Whether the image says itself how it starts, as one of a Dockerfile does."""


def accepts(sockets: tuple[tuple[str, int], ...], port: int, address: str | None = None) -> bool:
    """Whether one of the listening sockets can be reached from outside on `port`."""
    return any(p == port and (a in _ANY_ADDRESS or a == address) for a, p in sockets)


def conclusive(boot: Boot, subject: Subject, timeout_s: float) -> DeployFailed | None:
    """The failure of a boot, once the evidence is conclusive; None while it may still succeed."""
    if boot.oom_kills >= OOM_LOOP_KILLS:
        return out_of_memory(subject, boot.peak_memory_bytes, "while booting")
    if boot.deaths_accepting >= CRASH_LOOP_DEATHS and boot.accepting_s >= CRASH_LOOP_S:
        return _crash_loop(boot, subject)
    if boot.elsewhere_s >= _patience_s(boot, subject):
        return _elsewhere(boot, subject)
    if boot.hopeless:
        return _refused(boot, subject)
    if boot.age_s < timeout_s:
        return None
    if boot.oom_kills:
        return out_of_memory(subject, boot.peak_memory_bytes, "while booting")
    if boot.deaths >= CRASH_LOOP_DEATHS:
        return _crash_loop(boot, subject)
    if boot.elsewhere_s:
        return _elsewhere(boot, subject)
    if boot.accepting_s or boot.closed or boot.note:
        return _unhealthy(boot, subject, timeout_s)
    return _error(
        subject,
        "never listened",
        f"{subject.name} opened no port within {timeout_s:.0f} s.",
        f"A web process must listen on 0.0.0.0:$PORT (PORT={subject.port}).",
    )


def exited(subject: Subject, exit: Mapping[str, Any], *, during: str = "") -> DeployFailed:
    """Why a container ended, from the runtime's exit record. `during` is `during boot` or the like."""
    status, number = exit.get("status"), exit.get("signal")
    if not number and status is not None and 128 < status <= 128 + signal.SIGRTMAX:
        number = status - 128
    suffix = f" {during}" if during else ""
    if exit.get("wall_exceeded"):
        limit = f" after {subject.limits.wall_s:.0f} s" if subject.limits.wall_s else ""
        return _error(subject, "timed out", f"{subject.name} was stopped{limit}: it took too long.", "")
    if exit.get("oom_kills") and (number == signal.SIGKILL or status not in (0, None)):
        return out_of_memory(subject, int(exit.get("peak_memory_bytes") or 0), during)
    if status in (126, 127) and (found := unstartable.explain(subject.lines, own_start=subject.own_start)):
        return _error(subject, found.cause, f"{subject.name}: {found.message}", found.hint)
    if number:
        label = _signal_name(int(number))
        return _error(
            subject, f"ended by signal {label}", f"{subject.name} was ended by {label}{suffix}.", ""
        )
    if status is None:
        return lost(subject)
    hint = "\n".join(filter(None, (reason(subject.lines), unstartable.missing_library(subject.lines))))
    hint = hint or ("Its last output is below." if subject.lines else "It printed nothing.")
    if status in _SHELLS and subject.lines:
        hint = f"A shell ends so when a command {_SHELLS[status]}: its name is in the output below."
    if status == 0:
        hint = f"A {subject.type} process must keep running; put one-off work into `paas run` or `release:`."
    return _error(
        subject, f"exited with status {status}", f"{subject.name} exited with status {status}{suffix}.", hint
    )


def out_of_memory(subject: Subject, peak_bytes: int, during: str = "") -> DeployFailed:
    limit = shown_memory(subject.limits.memory_bytes)
    peak = f", its peak was {shown_memory(peak_bytes)}" if peak_bytes else ""
    lowest, highest, *_ = LIMITS["memory_bytes"]
    double = min(highest, max(lowest, 2 * subject.limits.memory_bytes)) // MIB
    return _error(
        subject,
        "out of memory",
        f"{subject.name} ran out of memory{' ' + during if during else ''}: the limit is {limit}{peak}.",
        f"Give it more: paas limits:set {subject.type} memory={double}M",
    )


def lost(subject: Subject) -> DeployFailed:
    """The container is gone and no exit was recorded."""
    return _error(subject, "host restart", f"{subject.name} vanished: the host was restarted.", "Push again.")


def not_started(subject: Subject, message: str, hint: str = "") -> DeployFailed:
    """The runtime refused to start the container."""
    return _error(subject, "could not be started", f"{subject.name} could not be started: {message}", hint)


def stopped_living(subject: Subject, what: str) -> DeployFailed:
    """The liveness check failed too often."""
    return _error(
        subject, "liveness check failed", f"{subject.name} stopped answering its health check: {what}.", ""
    )


def _elsewhere(boot: Boot, subject: Subject) -> DeployFailed:
    sockets = ", ".join(f"{_shown(address)}:{port}" for address, port in boot.sockets or ())
    hint = f"Bind 0.0.0.0 and the port in $PORT (PORT={subject.port})."
    if any(port == subject.port for _, port in boot.sockets or ()):
        hint += " Most servers take a host beside the port: --host 0.0.0.0, or listen(port) without a host in Node."
    else:
        hint += ' The port is written in the code or a flag: take process.env.PORT, os.environ["PORT"] or $PORT there.'
    return _error(
        subject, "never listened", f"{subject.name} listens on {sockets}, expected 0.0.0.0:$PORT.", hint
    )


def _patience_s(boot: Boot, subject: Subject) -> float:
    meant = any(port == subject.port or address in _ANY_ADDRESS for address, port in boot.sockets or ())
    return ELSEWHERE_S if meant else PRIVATE_ELSEWHERE_S


def _crash_loop(boot: Boot, subject: Subject) -> DeployFailed:
    return _error(
        subject,
        "crash loop in boot",
        f"{subject.name} keeps crashing while it boots: {boot.deaths} of its processes ended within"
        f" {boot.age_s:.0f} s, and none answered.",
        reason(subject.lines) or "Its server restarts workers that die; the reason is in its output below.",
    )


def _refused(boot: Boot, subject: Subject) -> DeployFailed:
    """The static file server has no page for `/`, and will have none."""
    cause = "health check answered" + boot.note.rpartition("answered")[2]
    return _error(
        subject,
        cause,
        f"{subject.name}: {boot.note}: the folder that is served has no index.html.",
        "Serve the folder that has one: a Staticfile with root: FOLDER. " + ANOTHER_PATH,
    )


def _unhealthy(boot: Boot, subject: Subject, timeout_s: float) -> DeployFailed:
    if boot.note:
        cause = "health check answered" + boot.note.rpartition("answered")[2]
        message = f"{subject.name} never became healthy within {timeout_s:.0f} s: {boot.note}."
        return _error(subject, cause, message, reason(subject.lines) or ANOTHER_PATH)
    return _error(
        subject,
        "never answered",
        f"{subject.name} listens, but answered no request within {timeout_s:.0f} s.",
        "",
    )


def relevant_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The last lines, without the tracebacks of a server that only reports that its worker failed."""
    begin = None
    for index, line in enumerate(lines):
        if line == _TRACEBACK:
            begin = index
        elif begin is not None and "HaltServer" in line and not line.startswith(" "):
            return lines[:begin][-LOG_LINES:] or lines[-LOG_LINES:]
    return lines[-LOG_LINES:]


def exceptions(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The distinct exceptions that the lines report, the newest last; not a server's own about its workers."""
    found: dict[str, None] = {}
    inside = False
    for line in lines:
        if line == _TRACEBACK:
            inside = True
        elif (inside and line and not line.startswith(" ")) or _EXCEPTION.match(line):
            inside = False
            if "HaltServer" not in line:
                found[line[:200]] = None
    return tuple(found)[-NAMED_EXCEPTIONS:]


def reason(lines: tuple[str, ...]) -> str:
    """What an app's last lines say of its failure, and what to do if it is known; empty when they say nothing."""
    named = exceptions(lines)
    said = f"The app's own error: {' · '.join(named)}" if named else ""
    known = named_cause(BOOT_HINTS, lines)
    advice = f"{known[0][:1].upper()}{known[0][1:]}. {known[1]}" if known else ""
    return "\n".join(filter(None, (said, advice)))


def _error(subject: Subject, cause: str, message: str, hint: str) -> DeployFailed:
    return DeployFailed(message, hint, cause=cause, lines=relevant_lines(subject.lines))


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address
