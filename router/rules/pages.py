"""The router's own answers: the app's page for an answer if it has one, else the standard page.

A page may contain `$status`, `$title`, `$code`, `$text` and `$request_id` (or `${status}` …). The only one of them that
a client can set is the request id, which has been validated; all are escaped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Final

from router.rules.own_answers import OwnAnswer, reason
from router.wire.cache import Cache
from router.wire.response import StatusLine, parse_status_line

MAX_PAGE_BYTES: Final = 64 * 1024
CACHED_PAGES: Final = 64
MAX_FIELDS: Final = 100
"""The most fields in one page: with thousands, an error page would be a megabyte long and cost more than an answer."""

_FIELD = re.compile(rb"\$(?:(status|title|code|text|request_id)\b|\{(status|title|code|text|request_id)\})")
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
"""What `html.escape` does; that module would bring a table of all entities into each worker."""
_NONE: Final[Mapping[str, str]] = {}


class Page:
    """A text with fields; those beyond MAX_FIELDS stay as they are."""

    def __init__(self, text: bytes) -> None:
        self._texts: list[bytes] = []
        self._fields: list[str] = []
        at = 0
        for match in islice(_FIELD.finditer(text), MAX_FIELDS):
            self._texts.append(text[at : match.start()])
            self._fields.append((match[1] or match[2]).decode())
            at = match.end()
        self._last = text[at:]

    def render(self, own_answer: OwnAnswer, request_id: bytes) -> bytes:
        values = {
            "status": str(own_answer.status),
            "title": reason(own_answer.status),
            "code": own_answer.code,
            "text": own_answer.text,
            "request_id": request_id.decode("ascii", "replace"),
        }
        pieces: list[bytes] = []
        for text, field in zip(self._texts, self._fields, strict=True):
            pieces += (text, values[field].translate(_ESCAPED).encode())
        return b"".join((*pieces, self._last))


class Pages:
    """`templates` is a folder with another standard page `error.html`, `files` one with `pages/NAME` of apps."""

    def __init__(self, templates: Path | None = None, files: Path | None = None) -> None:
        folder = templates or resources.files("templates") / "errors"
        self._standard = Page((folder / "error.html").read_bytes())
        self._folder = files / "pages" if files is not None else None
        self._known = Cache(lambda name: Page(self._read(name)), CACHED_PAGES)

    def _read(self, name: str) -> bytes:
        """Raises OSError if there is no such page or it is too long."""
        if self._folder is None:
            raise FileNotFoundError(name)
        with open(os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            text = file.read(MAX_PAGE_BYTES + 1)
        if len(text) > MAX_PAGE_BYTES:
            raise OSError(f"{name} is longer than {MAX_PAGE_BYTES} bytes")
        return text

    def page(self, own_answer: OwnAnswer, own: Mapping[str, str]) -> Page:
        """The page of an answer: the app's own for its H-code, else for its status, else the standard page."""
        name = own.get(own_answer.code) or own.get(str(own_answer.status))
        if name is not None:
            try:
                page: Page = self._known[name]
                return page
            except OSError:
                pass
        return self._standard

    def answer(
        self, own_answer: OwnAnswer, request_id: bytes, own: Mapping[str, str] = _NONE
    ) -> tuple[StatusLine, bytes, bytes]:
        """Status line, header lines and body. `own` maps H-codes and statuses to the names of the app's pages."""
        body = self.page(own_answer, own).render(own_answer, request_id)
        lines = (
            "Content-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
        ).encode()
        if request_id:
            lines += b"X-Request-Id: %b\r\n" % request_id
        return _status_line(own_answer.status), lines, body


@cache
def _status_line(status: int) -> StatusLine:
    return parse_status_line(f"HTTP/1.1 {status} {reason(status)}".encode())
