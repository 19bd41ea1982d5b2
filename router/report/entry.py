"""What is recorded of one request that is over."""

from __future__ import annotations

import re
from typing import Final

from router.rules.own_answers import OwnAnswer
from router.rules.route import Backend, Route

UNKNOWN: Final = "_unknown"
"""The name of the log and of the counters for requests without a route."""

Entry = tuple[
    float,
    bytes,
    bytes,
    bytes,
    bytes,
    bytes,
    Backend | None,
    float,
    float,
    int,
    int,
    OwnAnswer | None,
    Route | None,
    bytes,
]
"""Wall time, method, target (quoted), host, request id, forwarded for (quoted), backend, seconds to connect (0.0 for a
pooled connection), seconds of service, status, bytes of body, own answer, route, scheme. A bare tuple, because one is
made for every request."""

_UNSAFE = re.compile(rb"[^!#-\[\]-~ ]")


def quote(text: bytes) -> bytes:
    """Percent-encode every byte that could end a quoted field or a line."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text)
