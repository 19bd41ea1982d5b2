"""Header lines: a strict grammar parses each distinct line once, then its bytes are looked up.

A head is read in two steps. First each line is looked up: most are irrelevant to a proxy (0: passed on as they are), a
few give a `Line`. Then the tuple of these Lines is looked up and gives the meaning of the head. So the cost of strict
parsing is paid once per distinct line and per distinct combination, not once per request.
Grammar: RFC 9110 section 5, RFC 9112 sections 2-6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from router.wire.cache import Cache

MAX_LINE_BYTES: Final = 8192
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_LINES: Final = 100
CACHED_LINE_BYTES: Final = 512
CACHED_LINES: Final = 1024
MAX_CACHED_VALUES: Final = 64
"""Of irrelevant lines with the same name, so that values that never come again do not fill the cache."""
PATTERN_TRIES: Final = 8
"""How often a connection's heads are compared to find the one line that differs."""

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"

_IRRELEVANT = re.compile(
    rb"(?![Xx]-[Ff][Oo][Rr][Ww][Aa][Rr][Dd][Ee][Dd]-)[!#$%&'*+\-.^`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*"
).fullmatch
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LONE = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]{0,%d}" % CACHED_LINE_BYTES).fullmatch
_NO_VALUE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]").search

Meaning = TypeVar("Meaning")


class BadHead(Exception):
    """A head that is refused. `status` answers the client that sent it; a backend's bad head is always a 502."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Line:
    """A relevant header line: its lower-case name, its parsed value, and whether it is passed on."""

    __slots__ = ("alone", "cut", "name", "value")

    def __init__(self, name: bytes, value: Any, line: bytes, keep: bool = False) -> None:
        self.name = name
        self.value = value
        self.cut: bytes | None = None if keep else CRLF + line + CRLF
        """Replaced by CRLF in the head to remove the line; None when it is passed on."""
        self.alone: Any = None
        """The meaning of a head in which no other line is relevant, once there was one."""


def split_field(line: bytes, limit: int = MAX_LINE_BYTES) -> tuple[bytes, bytes]:
    """`(lower-case name, stripped value)` of one header line. Raises BadHead."""
    if len(line) > limit:
        raise BadHead(f"a header line is longer than {limit} bytes", 431)
    match = _FIELD.fullmatch(line)
    if match is None:
        raise BadHead("malformed header line")
    return match[1].lower(), match[2].strip(b" \t")


def parse_length(value: bytes) -> int:
    """A Content-Length: digits only (RFC 9110 8.6); lists and signs are refused."""
    if _LENGTH.fullmatch(value) is None:
        raise BadHead("invalid Content-Length")
    return int(value)


def parse_tokens(value: bytes) -> frozenset[bytes]:
    """The lower-case tokens of a comma-separated list, as in Connection. Raises BadHead."""
    tokens = [token.strip(b" \t") for token in value.lower().split(b",")]
    tokens = [token for token in tokens if token]
    if not all(_TOKEN.fullmatch(token) for token in tokens):
        raise BadHead("malformed list of tokens")
    return frozenset(tokens)


def check_partial(data: bytes, checked: int = 0, limit: int = MAX_HEAD_BYTES) -> None:
    """Refuse an incomplete head that can never become valid: too long, or with a lone CR or LF. The first `checked`
    bytes have passed before."""
    if len(data) > limit:
        raise BadHead(f"the head is longer than {limit} bytes", 431)
    if _LONE.search(data, max(0, checked - 1)) is not None:
        raise BadHead("a line ends in a bare CR or LF")


def strip_named(head: bytes, names: frozenset[bytes]) -> bytes:
    """Remove the header lines with these lower-case names from a head (start line and lines, each with its CRLF)."""
    lines = head.split(CRLF)
    kept = [line for line in lines[1:] if line.partition(b":")[0].lower() not in names]
    return CRLF.join([lines[0], *kept])


class LineCache(Cache):
    """Line to 0 or a Line; long lines are not cached. `_names` are names of irrelevant lines as they were written, with
    the number of cached values: another line with such a name needs only its value checked."""

    __slots__ = ("_names", "_relevant")

    def __init__(
        self, parse: Callable[[bytes], Line | int], relevant: frozenset[bytes], capacity: int
    ) -> None:
        super().__init__(parse, capacity)
        self._relevant = relevant
        self._names: dict[bytes, int] = {}

    def __missing__(self, key: bytes) -> Line | int:
        colon = key.find(b":")
        if colon > 0:
            name = key[:colon]
            cached = self._names.get(name)
            if cached is not None and len(key) <= CACHED_LINE_BYTES and _NO_VALUE(key, colon) is None:
                if cached < MAX_CACHED_VALUES:
                    self._names[name] = cached + 1
                    self.keep(key, 0)
                return 0
        return self._parse(key, colon)

    def is_irrelevant(self, name: bytes) -> bool:
        """Whether well-formed lines with this name are known to be irrelevant."""
        return name in self._names

    def _parse(self, key: bytes, colon: int) -> Line | int:
        if len(key) <= CACHED_LINE_BYTES and _IRRELEVANT(key) is not None:
            name = key[:colon]
            if name.lower() not in self._relevant:
                if len(self._names) >= self._capacity:
                    self._names.clear()
                self._names[name] = 1
                return self.keep(key, 0)  # type: ignore[no-any-return]
        line: Line | int | None = self._old.get(key)
        if line is None:
            line = self._compute(key)
        return line if len(key) > CACHED_LINE_BYTES else self.keep(key, line)

    def age(self) -> None:
        super().age()
        self._names = dict.fromkeys(self._names, 0)


class MeaningCache(Cache):
    """Tuple of Lines to meaning; not cached when the Lines are long."""

    __slots__ = ()

    def __missing__(self, key: tuple[Line, ...]) -> Any:
        value = self._old.get(key)
        if value is None:
            value = self._compute(key)
        long = sum(len(line.cut) for line in key if line.cut is not None) > 2 * CACHED_LINE_BYTES
        return value if long else self.keep(key, value)


class HeadReader(Generic[Meaning]):
    """Reads header blocks. `parse` turns a line into 0 or a Line, `combine` turns all Lines into the meaning; both raise
    BadHead. Well-formed lines are not parsed if their name is not in `relevant`, does not begin with `x-forwarded-`, and
    has no underscore."""

    def __init__(
        self,
        parse: Callable[[bytes], Line | int],
        combine: Callable[[tuple[Line, ...]], Meaning],
        relevant: frozenset[bytes] = frozenset(),
        capacity: int = CACHED_LINES,
    ) -> None:
        self._lines = LineCache(parse, relevant, capacity)
        self._meanings = MeaningCache(combine, capacity)
        self._line = self._lines.__getitem__
        self._combine = combine
        self.is_irrelevant = self._lines.is_irrelevant

    def expect(self, hosts: int) -> None:
        """Make room for the heads of so many hosts: each has its own Host line."""
        self._lines.resize(max(CACHED_LINES, 2 * hosts))
        self._meanings.resize(max(CACHED_LINES, 2 * hosts))

    def relevant(self, lines: list[bytes]) -> tuple[Line, ...]:
        """The Lines among these lines. Raises BadHead."""
        found = tuple(filter(None, map(self._line, lines)))
        if len(lines) > MAX_LINES:
            raise BadHead(f"more than {MAX_LINES} header lines", 431)
        return found

    def meaning(self, lines: tuple[Line, ...]) -> Meaning:
        """What these Lines mean together. A request often has one only, its Host: that Line keeps the meaning itself,
        which with thousands of hosts spares as many tuples, and the cache misses of looking them up. Raises BadHead."""
        if len(lines) != 1:
            return self._meanings[lines]  # type: ignore[no-any-return]
        line = lines[0]
        if line.alone is None:
            line.alone = self._combine(lines)
        return line.alone  # type: ignore[no-any-return]

    def read(self, block: bytes) -> Meaning:
        """The meaning of a header block (between the start line and the blank line, without the last CRLF)."""
        return self.meaning(self.relevant(block.split(CRLF) if block else []))


class HeadMemory(Generic[Meaning]):
    """Reads the heads of one connection. Most equal the one before, or differ from it in the value of one irrelevant
    line: then two comparisons, before and behind that value, replace the reading of lines."""

    __slots__ = ("_after", "_before", "_last", "_meaning", "_reader", "_tries")

    def __init__(self, reader: HeadReader[Meaning]) -> None:
        self._reader = reader
        self.forget()

    def forget(self) -> None:
        """Drop what is kept of the heads so far."""
        self._last = b""
        self._before = b"\n"
        """The beginning of heads like the last ones, up to the value that differs; no head begins with a newline."""
        self._after = b""
        """What follows that value."""
        self._meaning: Meaning | None = None
        self._tries = PATTERN_TRIES

    def read(self, data: bytes, start: int, end: int) -> Meaning:
        """The meaning of the header lines in `data` from `start` to `end`, each with its CRLF. Raises BadHead."""
        before, after = self._before, self._after
        if (
            data.startswith(before, start)
            and data.endswith(after, start, end)
            and _VALUE(data, start + len(before), end - len(after)) is not None
        ):
            return self._meaning  # type: ignore[return-value]
        return self._read_lines(data[start:end])

    def _read_lines(self, block: bytes) -> Meaning:
        """Read all lines. If the head differs from the last one in one irrelevant line, keep what surrounds its value."""
        reader = self._reader
        lines = block[:-2].split(CRLF) if block else []
        self._meaning = meaning = reader.meaning(reader.relevant(lines))
        last, self._last = self._last, block
        self._before, self._after = block, b""
        if last and self._tries:
            self._tries -= 1
            others = last[:-2].split(CRLF)
            differing = [at for at, line in enumerate(lines) if line not in others[at : at + 1]]
            if len(others) == len(lines) and len(differing) == 1:
                at = differing[0]
                name, colon, _ = lines[at].partition(b":")
                if reader.is_irrelevant(name) and others[at].startswith(name + colon):
                    self._before = b"".join([line + CRLF for line in lines[:at]]) + name + colon
                    self._after = b"".join([CRLF + line for line in lines[at + 1 :]]) + CRLF
        return meaning
