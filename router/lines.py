"""Header lines: each distinct line is judged once by a strict grammar, then known by its bytes.

A head is understood in two steps. Every line is looked up: most mean nothing to a proxy (0: passed on as they
came), a few are a `Line` that matters. Then the tuple of the lines that matter is looked up and gives the
head's meaning. So strictness is paid once per distinct line and per distinct combination, not once per request.
Grammar: RFC 9110 section 5, RFC 9112 sections 2-6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

MAX_LINE_BYTES: Final = 8192
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_LINES: Final = 100
CACHED_LINE_BYTES: Final = 512
CACHED_LINES: Final = 1024

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"


_PLAIN = re.compile(
    rb"(?![Xx]-[Ff][Oo][Rr][Ww][Aa][Rr][Dd][Ee][Dd]-)[!#$%&'*+\-.^`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*"
).fullmatch
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LONE = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)")
_NO_VALUE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]").search

Meaning = TypeVar("Meaning")


class BadHead(Exception):
    """A head that is not passed on. `status` is the answer when a client sent it (a backend's is always 502)."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class EmptyLine(BadHead):
    """A line without a character: the head ends there."""


class Line:
    """A header line that matters: its lower-case name, its parsed value, and whether it is passed on."""

    __slots__ = ("cut", "name", "value")

    def __init__(self, name: bytes, value: Any, line: bytes, keep: bool = False) -> None:
        self.name = name
        self.value = value
        self.cut: bytes | None = None if keep else CRLF + line + CRLF
        """What to replace by CRLF in the head to take the line out; None when it is passed on."""


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """`(lower-case name, value without blanks around)` of one header line. Raises BadHead."""
    if len(line) > MAX_LINE_BYTES:
        raise BadHead("a header line is too long", 431)
    match = _FIELD.fullmatch(line)
    if match is None:
        if not line:
            raise EmptyLine("an empty line in the head")
        raise BadHead("malformed header line")
    return match[1].lower(), match[2].strip(b" \t")


def parse_length(value: bytes) -> int:
    """A Content-Length: digits and nothing else (RFC 9110 8.6); lists and signs are refused."""
    if _LENGTH.fullmatch(value) is None:
        raise BadHead("invalid Content-Length")
    return int(value)


def parse_tokens(value: bytes) -> frozenset[bytes]:
    """The lower-case tokens of a comma separated list such as Connection's. Raises BadHead."""
    tokens = [token.strip(b" \t") for token in value.lower().split(b",")]
    tokens = [token for token in tokens if token]
    if not all(_TOKEN.fullmatch(token) for token in tokens):
        raise BadHead("malformed list of tokens")
    return frozenset(tokens)


def check_partial(data: bytes, checked: int = 0, limit: int = MAX_HEAD_BYTES) -> None:
    """Refuse a head that is not complete yet but can never become valid: too long, or with a lone CR or LF.
    `checked` bytes of it were in order when less had come."""
    if len(data) > limit:
        raise BadHead("the head is too long", 431)
    if _LONE.search(data, max(0, checked - 1)) is not None:
        raise BadHead("a line ends in a bare CR or LF")


def strip_named(head: bytes, names: frozenset[bytes]) -> bytes:
    """The head (start line and lines, CRLF ended) without the header lines of these lower-case names."""
    lines = head.split(CRLF)
    kept = [line for line in lines[1:] if line.partition(b":")[0].lower() not in names]
    return CRLF.join([lines[0], *kept])


class Remembered(dict[Any, Any]):
    """A bounded dict that computes what it misses; what was used lately survives a change of generation."""

    __slots__ = ("_capacity", "_compute", "_old")

    def __init__(self, compute: Callable[[Any], Any], capacity: int) -> None:
        super().__init__()
        self._compute = compute
        self._capacity = capacity
        self._old: dict[Any, Any] = {}

    def __missing__(self, key: Any) -> Any:
        value = self._old.get(key)
        if value is None:
            value = self._compute(key)
        return self.keep(key, value)

    def keep(self, key: Any, value: Any) -> Any:
        """Remember a value; returns it."""
        if len(self) >= self._capacity:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value


class _Lines(Remembered):
    """Lines to 0 or a Line; long lines are not remembered, plain ones are judged here. `_names` are names that plain
    lines have had, as they were written: of another such line only the value is looked at."""

    __slots__ = ("_names", "_special")

    def __init__(
        self, judge: Callable[[bytes], Line | int], special: frozenset[bytes], capacity: int
    ) -> None:
        super().__init__(judge, capacity)
        self._special = special
        self._names: set[bytes] = set()

    def __missing__(self, key: bytes) -> Line | int:
        colon = key.find(b":")
        known = colon > 0 and key[:colon] in self._names and len(key) <= CACHED_LINE_BYTES
        if known and _NO_VALUE(key, colon) is None:
            return self.keep(key, 0)  # type: ignore[no-any-return]
        return self._judge(key, colon)

    def _judge(self, key: bytes, colon: int) -> Line | int:
        if len(key) <= CACHED_LINE_BYTES and _PLAIN(key) is not None:
            name = key[:colon]
            if name.lower() not in self._special:
                if len(self._names) >= self._capacity:
                    self._names.clear()
                self._names.add(name)
                return self.keep(key, 0)  # type: ignore[no-any-return]
        line: Line | int | None = self._old.get(key)
        if line is None:
            line = self._compute(key)
        return line if len(key) > CACHED_LINE_BYTES else self.keep(key, line)


class _Meanings(Remembered):
    """Tuples of Lines to meanings; those with long lines in them are not remembered."""

    __slots__ = ()

    def __missing__(self, key: tuple[Line, ...]) -> Any:
        value = self._old.get(key)
        if value is None:
            value = self._compute(key)
        long = sum(len(line.cut) for line in key if line.cut is not None) > 2 * CACHED_LINE_BYTES
        return value if long else self.keep(key, value)


class HeadReader(Generic[Meaning]):
    """Gives the meaning of header blocks. `judge` turns one line into 0 or a Line, `understand` all Lines into
    the meaning; both raise BadHead. Well-formed lines are not judged when their name is neither in `special` nor
    begins like `x-forwarded-` nor has an underscore."""

    def __init__(
        self,
        judge: Callable[[bytes], Line | int],
        understand: Callable[[tuple[Line, ...]], Meaning],
        special: frozenset[bytes] = frozenset(),
        capacity: int = CACHED_LINES,
    ) -> None:
        lines = _Lines(judge, special, capacity)
        self.known = lines.get
        """The meaning of a line that has been judged, None of another one."""
        self.judge = lines.__missing__
        """The meaning of a line that is not known."""
        self._line = lines.__getitem__
        self.understand = _Meanings(understand, capacity).__getitem__
        """The meaning of a tuple of Lines."""

    def special(self, lines: list[bytes]) -> tuple[Line, ...]:
        """Those among the lines that matter. Raises BadHead."""
        special = tuple(filter(None, map(self._line, lines)))
        if len(lines) > MAX_LINES:
            raise BadHead("too many header lines", 431)
        return special

    def read(self, block: bytes) -> Meaning:
        """The meaning of a header block (between the start line and the blank line, without the last CRLF)."""
        return self.understand(self.special(block.split(CRLF) if block else []))  # type: ignore[no-any-return]


class HeadMemory(Generic[Meaning]):
    """Reads the heads of one connection: the lines with which all of them have begun so far are compared as a whole,
    only those behind them are looked up one by one."""

    __slots__ = ("_count", "_meaning", "_prefix", "_reader", "_special")

    def __init__(self, reader: HeadReader[Meaning]) -> None:
        self._reader = reader
        self.forget()

    def forget(self) -> None:
        """Keep nothing of the heads so far."""
        self._prefix = b""
        self._count = -1
        self._special: tuple[Line, ...] = ()
        self._meaning: Meaning | None = None

    def read(self, data: bytes, start: int, end: int) -> Meaning:
        """The meaning of the header lines in `data` from `start` to `end`, each with its CRLF. Raises BadHead."""
        prefix = self._prefix
        if self._count < 0 or not data.startswith(prefix, start):
            return self._learn(data[start:end])
        at = start + len(prefix)
        if at == end:
            return self._meaning  # type: ignore[return-value]
        lines = data[at : end - 2].split(CRLF)
        reader = self._reader
        special = None
        for line in lines:
            found = reader.known(line)
            if found is None:
                found = reader.judge(line)
            if found:
                special = (special or self._special) + (found,)
        if self._count + len(lines) > MAX_LINES:
            raise BadHead("too many header lines", 431)
        return self._meaning if special is None else reader.understand(special)  # type: ignore[return-value]

    def _learn(self, block: bytes) -> Meaning:
        """Read all lines, and remember those with which the last head began too."""
        reader = self._reader
        lines = block[:-2].split(CRLF) if block else []
        special = reader.special(lines)
        meaning: Meaning = reader.understand(special)
        same = len(lines)
        if self._count >= 0:
            before = self._prefix.split(CRLF)
            same = 0
            while same < len(lines) and same < self._count and lines[same] == before[same]:
                same += 1
        if same < len(lines):
            block = b"".join([line + CRLF for line in lines[:same]])
            special = reader.special(lines[:same])
        self._prefix = block
        self._count = same
        self._special = special
        self._meaning = reader.understand(special)
        return meaning
