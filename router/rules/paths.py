"""Which of the routes of one host a target belongs to, by the longest path prefix. Pure.

Applications read paths in different ways: they may decode them, drop parameters, doubled slashes and dots, take what
follows `//` for a host, or ignore case. A target that one of these readings gives to another route leads nowhere, so
that nobody gets round what that route asks of its clients.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from router.rules.route import Route

LONG_BYTES: Final = 1024
_ODD = re.compile(rb"[A-Z%#;\\]|//|/\.").search
_ODD_BUT_FOR_CASE = re.compile(rb"[%#?;\\]|//|/\.").search
_ODD_BUT_FOR_CODES = re.compile(rb"[#;\\]|//|/\.").search
_AMBIGUOUS = re.compile(rb"[%#;\\]|//").search
_UP = re.compile(rb"/\.\.(?![^/;])").search
_AUTHORITY = re.compile(rb"//+[^/#]*").match
_PARAMETERS = re.compile(rb";[^/]*").sub
_EMPTY = re.compile(rb"/(?:\.?/)+").sub
_TAIL = re.compile(rb"[?#].*", re.DOTALL).sub
"""What ends a path for an application that decodes before it looks for the end."""
_TABS_AND_NEWLINES: Final = b"\t\n\r"


def by_path(routes: tuple[Route, ...], target: bytes) -> Route | None:
    """The route of the longest prefix, which comes first in `routes`; None when there is none, or when an application may
    read the path as another route's."""
    path = target.partition(b"?")[0]
    route = _first(routes, path)
    if _ODD(path) is not None and not _certain(routes, path, route):
        return None
    return route


def _first(routes: tuple[Route, ...], path: bytes) -> Route | None:
    for route in routes:
        if _leads(route.path, path):
            return route
    return None


def _leads(prefix: bytes, path: bytes) -> bool:
    return prefix == b"/" or path == prefix or path.startswith(prefix + b"/")


def _certain(routes: tuple[Route, ...], path: bytes, route: Route | None) -> bool:
    """Whether every reading gives the path to this route, or, by its capitals alone, to one with the same guards."""
    readings = {path} if _ODD_BUT_FOR_CASE(path) is None else _readings(path)
    if not readings:
        return False
    guarded = any(_guards(other) is not None for other in routes)
    for reading in readings:
        if _first_plain(routes, reading) is not route:
            return False
        if guarded and not _guarded_alike(routes, _fold(reading), route):
            return False
    return True


def _readings(path: bytes) -> set[bytes]:
    """What an application may read, none where that cannot be told: where `..` leads depends on all else that may be
    read in several ways; and of long paths that would take long."""
    decoded = _decode(path)
    if _ODD_BUT_FOR_CODES(path) is None and _ODD_BUT_FOR_CASE(decoded) is None:
        return {path, decoded}
    if len(path) > LONG_BYTES and sum(kind in path for kind in (b"%", b";", b"\\", b"//")) > 1:
        return set()
    texts = _texts(path)
    up = any(_UP(text) is not None for text in texts)
    if up and _AMBIGUOUS(path) is not None:
        return set()
    readings = {_plain(text) for text in texts}
    if up:
        readings.add(_resolved(path))
    return readings


def _texts(path: bytes) -> set[bytes]:
    """The path after some of the steps that applications take before they look at names, in any order, each once."""
    found = {(path, 0)}
    left = [(path, 0)]
    while left:
        text, taken = left.pop()
        for bit, step in _STEPS:
            after = (step(text), taken | bit)
            if not taken & bit and after[0] != text and after not in found:
                found.add(after)
                left.append(after)
    return {text for text, _ in found}


def _decode(text: bytes) -> bytes:
    return unquote_to_bytes(text).translate(None, _TABS_AND_NEWLINES)


def _fold(text: bytes) -> bytes:
    """Without differences of case, those of the two signs included that are ASCII letters when case is ignored: K (Kelvin)
    and ſ (Unicode, CaseFolding.txt)."""
    return text.lower().replace("\u212a".encode(), b"k").replace("\u017f".encode(), b"s")


def _turn_backslashes(text: bytes) -> bytes:
    return text.replace(b"\\", b"/")


def _drop_parameters(text: bytes) -> bytes:
    return _PARAMETERS(b"", text)


def _drop_host(text: bytes) -> bytes:
    """Without what a URL parser takes for a host (WHATWG URL standard, 4.4)."""
    authority = _AUTHORITY(text)
    return text if authority is None else text[authority.end() :]


_STEPS: Final[list[tuple[int, Callable[[bytes], bytes]]]] = [
    (1, _decode),
    (2, _turn_backslashes),
    (4, _drop_parameters),
    (8, _drop_host),
]


def _plain(text: bytes) -> bytes:
    """Without parameters, doubled slashes and single dots. Any reading that does only some of this begins with the same
    names, if these are a route's."""
    return _EMPTY(b"/", b"/" + _drop_parameters(_TAIL(b"", text)))


def _resolved(path: bytes) -> bytes:
    """Where the dots lead."""
    kept: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            del kept[-1:]
        elif name not in (b"", b"."):
            kept.append(name)
    return b"/" + b"/".join(kept)


@lru_cache(4096)
def _prefix(path: bytes) -> bytes:
    """The path of a route in the form of a plain one."""
    return _plain(_turn_backslashes(_decode(path)))


def _first_plain(routes: tuple[Route, ...], path: bytes) -> Route | None:
    for route in routes:
        if _leads(_prefix(route.path), path):
            return route
    return None


def _guarded_alike(routes: tuple[Route, ...], folded: bytes, route: Route | None) -> bool:
    """Whether an application that ignores case reads the path as one of this route, or of one that asks nothing else."""
    found: list[Route] = []
    for other in routes:
        if found and len(other.path) < len(found[0].path):
            break
        if _leads(_fold(_prefix(other.path)), folded):
            found.append(other)
    if route is None or route in found:
        return True
    return all(_guards(other) in (None, _guards(route)) for other in found)


def _guards(route: Route) -> tuple[Any, Any] | None:
    """What the route asks of clients before they may come in."""
    policy = route.policy
    if policy is None or not (policy.allow or policy.basic_auth):
        return None
    return policy.allow, policy.basic_auth
