"""When an instance counts as healthy: the checks that apply to it, and what an answer means. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from paas.manifest.appjson import AppManifest, HealthCheck
from paas.nouns.model import Image
from paas.nouns.startup import WEB_PORT
from paas.runs.specs import WEB

READY_INTERVAL_S = 0.05
"""How often a booting instance is probed."""
SETTLE_S = 1.0
"""How long a process without a port must stay alive to count as up."""
MAX_HEAD_BYTES = 64 * 1024
MAX_INTERIM = 8
"""Interim answers (RFC 9110, 1xx) before the one that counts; each is read again with every piece that comes."""

GATEWAY = frozenset({502, 503, 504})
"""Answers of a process that says itself that it cannot serve (yet)."""
WITHOUT_PAGES = frozenset({403, 404, 500})
"""Answers for `/` of the platform's own static file server, when what it serves has no index.html."""
_STATIC_SERVER = ".paas/serve "

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_LOCATION = re.compile(rb"(?i)\nlocation:[ \t]*https://")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class Check:
    """One way to ask an instance. `strict`: only 2xx and 3xx count; otherwise any complete head does whose status is
    neither in `not_yet` nor in `never`, which no waiting mends."""

    kind: Literal["http", "listening", "running"]
    path: str = "/"
    port: int = WEB_PORT
    strict: bool = False
    timeout_s: float = 10.0
    interval_s: float = READY_INTERVAL_S
    attempts: int = 3
    not_yet: frozenset[int] = frozenset()
    never: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Answer:
    """The result of a check: `healthy`, the HTTP status, and a note for the user. `hopeless`: no later one will differ. `to_https`: it
    leads to https, where another question is whether that answers."""

    healthy: bool
    status: int | None = None
    note: str = ""
    hopeless: bool = False
    to_https: bool = False


def boot_check(image: Image, type: str, *, pushed: bool = False) -> Check:
    """The check that decides when a new instance gets traffic (or, without a port, counts as up).

    A push has an older release to fall back on: of its own instances more is asked than of those that run already.
    """
    for kind in ("startup", "readiness"):
        for check in _checks(image, type):
            if check.kind == kind:
                return _translate(check, READY_INTERVAL_S, image.web_port)
    if type != WEB:
        return Check("running")
    if not pushed:
        return Check("http", port=image.web_port)
    static = image.processes.get(WEB, "").startswith(_STATIC_SERVER)
    never = WITHOUT_PAGES if static else frozenset[int]()
    return Check("http", port=image.web_port, not_yet=GATEWAY, never=never)


def liveness_check(image: Image, type: str) -> Check | None:
    """The check that an instance must keep passing, when its app asks for one."""
    for check in _checks(image, type):
        if check.kind == "liveness":
            return _translate(check, max(check.wait_s, 1.0), image.web_port)
    return None


def request_bytes(check: Check, host: str) -> bytes:
    """The request of an HTTP check, as the router would send one for the app's own host name."""
    return (
        f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: paas-health/1\r\nAccept: */*\r\n"
        "X-Forwarded-Proto: http\r\nConnection: close\r\n\r\n"
    ).encode("utf-8", "surrogateescape")


def judge(check: Check, received: bytes) -> Answer | None:
    """What the bytes received so far say; None while the head is incomplete.

    Bytes that cannot be an HTTP answer, or never come to one, are an unhealthy answer.
    """
    for _ in range(MAX_INTERIM + 1):
        end = _HEAD_END.search(received)
        if end is None:
            if len(received) > MAX_HEAD_BYTES or not _may_be_http(received):
                return Answer(False, None, "answered something that is not HTTP")
            return None
        status_line = _STATUS_LINE.match(received)
        if status_line is None:
            return Answer(False, None, "answered something that is not HTTP")
        status = int(status_line[1])
        if status >= 200 or status == 101:
            break
        received = received[end.end() :]
    else:
        return Answer(False, None, f"sent more than {MAX_INTERIM} interim answers and no final one")
    note = f"GET {check.path} answered {status}" if status >= 500 or check.strict else ""
    if check.strict:
        return Answer(200 <= status < 400, status, "" if 200 <= status < 400 else note)
    if status in check.not_yet or status in check.never:
        return Answer(False, status, f"GET {check.path} answered {status}", status in check.never)
    to_https = not note and _LOCATION.search(received[: end.end()]) is not None
    return Answer(True, status, f"GET {check.path} leads to https" if to_https else note, to_https=to_https)


def _may_be_http(received: bytes) -> bool:
    return (
        received[:7] == b"HTTP/1."[: len(received)] if len(received) < 7 else received.startswith(b"HTTP/1.")
    )


def _checks(image: Image, type: str) -> tuple[HealthCheck, ...]:
    return AppManifest.from_json(image.manifest).healthchecks.get(type, ())


def _translate(check: HealthCheck, interval_s: float, port: int) -> Check:
    return Check(
        kind="listening" if check.listening else "http",
        path=check.path,
        port=check.port or port,
        strict=not check.listening,
        timeout_s=check.timeout_s,
        interval_s=interval_s,
        attempts=check.attempts,
    )
