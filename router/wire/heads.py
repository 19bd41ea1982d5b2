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
VALUES_OF_A_NAME: Final = 64
LEARNING: Final = 8

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"


_PLAIN = re.compile(
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
    """A head that is not passed on. `status` is the answer when a client sent it (a backend's is always 502)."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Line:
    """A header line that matters: its lower-case name, its parsed value, and whether it is passed on."""

    __slots__ = ("cut", "name", "value")

    def __init__(self, name: bytes, value: Any, line: bytes, keep: bool = False) -> None:
        self.name = name
        self.value = value
        self.cut: bytes | None = None if keep else CRLF + line + CRLF
        """What to replace by CRLF in the head to take the line out; None when it is passed on."""


def split_field(line: bytes, limit: int = MAX_LINE_BYTES) -> tuple[bytes, bytes]:
    """`(lower-case name, value without blanks around)` of one header line. Raises BadHead."""
    if len(line) > limit:
        raise BadHead(f"a header line is longer than {limit} bytes", 431)
    match = _FIELD.fullmatch(line)
    if match is None:
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
        raise BadHead(f"the head is longer than {limit} bytes", 431)
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
            self.forget_some()
        self[key] = value
        return value

    def hold(self, capacity: int) -> None:
        """Change how much is remembered."""
        self._capacity = capacity

    def forget_some(self) -> None:
        """Keep what there is as the old generation only."""
        self._old = dict(self)
        self.clear()


class _Lines(Remembered):
    """Lines to 0 or a Line; long lines are not remembered, plain ones are judged here. `_names` are names that plain
    lines have had, as they were written, with the number of such lines: of another one only the value is looked at,
    and when there are many of them it is not remembered."""

    __slots__ = ("_names", "_special")

    def __init__(
        self, judge: Callable[[bytes], Line | int], special: frozenset[bytes], capacity: int
    ) -> None:
        super().__init__(judge, capacity)
        self._special = special
        self._names: dict[bytes, int] = {}

    def __missing__(self, key: bytes) -> Line | int:
        colon = key.find(b":")
        if colon > 0:
            name = key[:colon]
            seen = self._names.get(name)
            if seen is not None and len(key) <= CACHED_LINE_BYTES and _NO_VALUE(key, colon) is None:
                if seen < VALUES_OF_A_NAME:
                    self._names[name] = seen + 1
                    self.keep(key, 0)
                return 0
        return self._judge(key, colon)

    def plain(self, name: bytes) -> bool:
        """Whether lines with this name are known to mean nothing, if they are well-formed."""
        return name in self._names

    def _judge(self, key: bytes, colon: int) -> Line | int:
        if len(key) <= CACHED_LINE_BYTES and _PLAIN(key) is not None:
            name = key[:colon]
            if name.lower() not in self._special:
                if len(self._names) >= self._capacity:
                    self._names.clear()
                self._names[name] = 1
                return self.keep(key, 0)  # type: ignore[no-any-return]
        line: Line | int | None = self._old.get(key)
        if line is None:
            line = self._compute(key)
        return line if len(key) > CACHED_LINE_BYTES else self.keep(key, line)

    def forget_some(self) -> None:
        super().forget_some()
        self._names = dict.fromkeys(self._names, 0)


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
        meanings = _Meanings(understand, capacity)
        self.plain = lines.plain
        self._line = lines.__getitem__
        self.understand = meanings.__getitem__
        """The meaning of a tuple of Lines."""
        self._memories: tuple[Remembered, Remembered] = (lines, meanings)

    def expect(self, hosts: int) -> None:
        """Remember as much as requests for so many hosts need, each with a Host line of its own."""
        for memory in self._memories:
            memory.hold(max(CACHED_LINES, 2 * hosts))

    def special(self, lines: list[bytes]) -> tuple[Line, ...]:
        """Those among the lines that matter. Raises BadHead."""
        special = tuple(filter(None, map(self._line, lines)))
        if len(lines) > MAX_LINES:
            raise BadHead(f"more than {MAX_LINES} header lines", 431)
        return special

    def read(self, block: bytes) -> Meaning:
        """The meaning of a header block (between the start line and the blank line, without the last CRLF)."""
        return self.understand(self.special(block.split(CRLF) if block else []))  # type: ignore[no-any-return]


class HeadMemory(Generic[Meaning]):
    """Reads the heads of one connection. Most are like the one before, or differ from it in one line that means
    nothing to a proxy: then all before and behind its value are compared as a whole."""

    __slots__ = ("_after", "_before", "_last", "_meaning", "_reader", "_tries")

    def __init__(self, reader: HeadReader[Meaning]) -> None:
        self._reader = reader
        self.forget()

    def forget(self) -> None:
        """Keep nothing of the heads so far."""
        self._last = b""
        self._before = b"\n"
        """What heads like the last ones begin with, up to the value that differs."""
        self._after = b""
        """And what follows that value."""
        self._meaning: Meaning | None = None
        self._tries = LEARNING

    def read(self, data: bytes, start: int, end: int) -> Meaning:
        """The meaning of the header lines in `data` from `start` to `end`, each with its CRLF. Raises BadHead."""
        before, after = self._before, self._after
        if (
            data.startswith(before, start)
            and data.endswith(after, start, end)
            and _VALUE(data, start + len(before), end - len(after)) is not None
        ):
            return self._meaning  # type: ignore[return-value]
        return self._learn(data[start:end])

    def _learn(self, block: bytes) -> Meaning:
        """Read all lines; if all but one are those of the last head, remember these."""
        reader = self._reader
        lines = block[:-2].split(CRLF) if block else []
        self._meaning = meaning = reader.understand(reader.special(lines))
        last, self._last = self._last, block
        self._before, self._after = block, b""
        if last and self._tries:
            self._tries -= 1
            others = last[:-2].split(CRLF)
            differing = [at for at, line in enumerate(lines) if line not in others[at : at + 1]]
            if len(others) == len(lines) and len(differing) == 1:
                at = differing[0]
                name, colon, _ = lines[at].partition(b":")
                if reader.plain(name) and others[at].startswith(name + colon):
                    self._before = b"".join([line + CRLF for line in lines[:at]]) + name + colon
                    self._after = b"".join([CRLF + line for line in lines[at + 1 :]]) + CRLF
        return meaning  # type: ignore[no-any-return]
