"""Finds the route of a target among those of one host, by the longest path prefix. Pure.

Applications read paths in different ways: they may decode them, drop parameters, doubled slashes and dots, treat what
follows `//` as a host, or ignore case. If one of these readings gives a target to another route, the target gets no
route at all: otherwise a client could evade the access rules of that other route.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from router.rules.route import Route

LONG_BYTES: Final = 1024
"""Longer paths with several ambiguities get no route: trying all readings would take long."""
_ODD = re.compile(rb"[A-Z%#;\\]|//|/\.").search
_ODD_EXCEPT_CASE = re.compile(rb"[%#?;\\]|//|/\.").search
_ODD_EXCEPT_CODES = re.compile(rb"[#;\\]|//|/\.").search
_AMBIGUOUS = re.compile(rb"[%#;\\]|//").search
_UP = re.compile(rb"/\.\.(?![^/;])").search
_AUTHORITY = re.compile(rb"//+[^/#]*").match
_PARAMETERS = re.compile(rb";[^/]*").sub
_EMPTY = re.compile(rb"/(?:\.?/)+").sub
_TAIL = re.compile(rb"[?#].*", re.DOTALL).sub
"""The end of a path for an application that decodes before it looks for the end."""
_TABS_AND_NEWLINES: Final = b"\t\n\r"


def by_path(routes: tuple[Route, ...], target: bytes) -> Route | None:
    """The first route whose prefix matches; `routes` begins with the longest. None without one, or when an application
    may read the path as another route's."""
    path = target.partition(b"?")[0]
    route = _first(routes, path)
    if _ODD(path) is not None and not _is_certain(routes, path, route):
        return None
    return route


def _first(routes: tuple[Route, ...], path: bytes) -> Route | None:
    for route in routes:
        if _leads(route.path, path):
            return route
    return None


def _leads(prefix: bytes, path: bytes) -> bool:
    return prefix == b"/" or path == prefix or path.startswith(prefix + b"/")


def _is_certain(routes: tuple[Route, ...], path: bytes, route: Route | None) -> bool:
    """Whether every reading gives the path to this route; readings that ignore case, to one with the same guards."""
    readings = {path} if _ODD_EXCEPT_CASE(path) is None else _readings(path)
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
    """All ways to read the path; none if they cannot be listed: the target of `..` depends on every other ambiguity,
    and long paths have too many readings."""
    decoded = _decode(path)
    if _ODD_EXCEPT_CODES(path) is None and _ODD_EXCEPT_CASE(decoded) is None:
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
    """The path after any subset of the decoding steps of applications, in any order, each at most once."""
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
    """Fold case, including the two other characters that fold to ASCII letters: K (Kelvin) and ſ (Unicode,
    CaseFolding.txt)."""
    return text.lower().replace("\u212a".encode(), b"k").replace("\u017f".encode(), b"s")


def _turn_backslashes(text: bytes) -> bytes:
    return text.replace(b"\\", b"/")


def _drop_parameters(text: bytes) -> bytes:
    return _PARAMETERS(b"", text)


def _drop_host(text: bytes) -> bytes:
    """Remove what a URL parser reads as a host (WHATWG URL standard, 4.4)."""
    authority = _AUTHORITY(text)
    return text if authority is None else text[authority.end() :]


_STEPS: Final[list[tuple[int, Callable[[bytes], bytes]]]] = [
    (1, _decode),
    (2, _turn_backslashes),
    (4, _drop_parameters),
    (8, _drop_host),
]


def _plain(text: bytes) -> bytes:
    """Remove parameters, doubled slashes and single dots. A reading that does only part of this begins with the same
    names, if they are those of a route."""
    return _EMPTY(b"/", b"/" + _drop_parameters(_TAIL(b"", text)))


def _resolved(path: bytes) -> bytes:
    """Resolve `.` and `..`."""
    kept: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            del kept[-1:]
        elif name not in (b"", b"."):
            kept.append(name)
    return b"/" + b"/".join(kept)


@lru_cache(4096)
def _prefix(path: bytes) -> bytes:
    """The path of a route in the form that `_plain` gives."""
    return _plain(_turn_backslashes(_decode(path)))


def _first_plain(routes: tuple[Route, ...], path: bytes) -> Route | None:
    for route in routes:
        if _leads(_prefix(route.path), path):
            return route
    return None


def _guarded_alike(routes: tuple[Route, ...], folded: bytes, route: Route | None) -> bool:
    """Whether an application that ignores case reads the path as this route's, or as one's with the same guards."""
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
    """The route's access rules; None without any."""
    policy = route.policy
    if policy is None or not (policy.allow or policy.basic_auth):
        return None
    return policy.allow, policy.basic_auth
