"""Header blocks of HTTP/2 (HPACK, RFC 7541), read and written. Pure.

The static table and the Huffman code come from the library `hpack`. Its coder is not used: it makes several objects for
each field of each block, which took a fifth of a request. Here a field is judged once when it enters a table
(`h2fields.RequestField`), and a line of an answer is encoded once however often it is sent (`h2fields.AnswerField`).
"""

from __future__ import annotations

from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from router.wire.h2fields import FIELD_OVERHEAD, AnswerField, RequestField, request_field

TABLE_BYTES: Final = 4096
"""The size of a dynamic table, in both directions: what the peer assumes (RFC 9113 6.5.2)."""
LARGEST_INDEXED: Final = 1024
"""Larger fields would push out too many others."""
_STATIC_FIELDS: Final[list[RequestField]] = [request_field(n, v) for n, v in HeaderTable.STATIC_TABLE]
_STATIC: Final = len(_STATIC_FIELDS)
_STATIC_NAMES: Final[dict[bytes, int]] = {
    name: index for index, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))
}
_STATUS: Final[dict[int, bytes]] = {
    int(value): bytes([0x80 | index])
    for index, (name, value) in enumerate(HeaderTable.STATIC_TABLE, 1)
    if name == b":status"
}
_STATUS_NAME: Final = 8
_HUFFMAN: Final = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
_INDEXED, _WITHOUT_INDEX, _NEVER_INDEX, _INDEXING, _TABLE_SIZE = 0x80, 0x00, 0x10, 0x40, 0x20


class BadBlock(Exception):
    """A header block that cannot be read; the tables of both ends no longer agree."""


class LargeBlock(BadBlock):
    """A header block whose fields are more than we take."""


class Decoder:
    """Reads the header blocks of one connection; its table holds judged fields."""

    __slots__ = ("_entries", "_limit", "_max", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: list[RequestField] = []
        """The dynamic table, the newest last."""
        self._size = 0
        self._max = TABLE_BYTES

    def decode(self, block: bytes) -> list[RequestField]:
        """The fields of a block. Raises BadBlock."""
        fields: list[RequestField] = []
        at, end, left = 0, len(block), self._limit
        while at < end:
            byte = block[at]
            if byte & 0x80:
                index, at = _read_integer(block, at, 0x7F)
                field = self._entry(index)
            elif byte & 0x40:
                field, at = self._read_literal(block, at, 0x3F)
                self._add(field)
            elif byte & 0x20:
                if fields:
                    raise BadBlock("a table size behind a field")
                size, at = _read_integer(block, at, 0x1F)
                if size > TABLE_BYTES:
                    raise BadBlock("a table beyond its limit")
                self._max = size
                self._shrink(size)
                left -= FIELD_OVERHEAD  # however many there are, they cost something
                if left < 0:
                    raise LargeBlock("too many table sizes")
                continue
            else:
                field, at = self._read_literal(block, at, 0x0F)
            left -= field.size
            if left < 0:
                raise LargeBlock("too many or too long fields")
            fields.append(field)
        return fields

    def _entry(self, index: int) -> RequestField:
        if 0 < index <= _STATIC:
            return _STATIC_FIELDS[index - 1]
        index -= _STATIC
        if index <= 0 or index > len(self._entries):
            raise BadBlock("an index beyond the tables")
        return self._entries[len(self._entries) - index]

    def _read_literal(self, block: bytes, at: int, mask: int) -> tuple[RequestField, int]:
        index, at = _read_integer(block, at, mask)
        if index:
            name = self._entry(index).name
        else:
            name, at = _read_string(block, at)
        value, at = _read_string(block, at)
        return request_field(name, value), at

    def _add(self, field: RequestField) -> None:
        if field.size > self._max:
            self._shrink(0)
            return
        self._shrink(self._max - field.size)
        self._entries.append(field)
        self._size += field.size

    def _shrink(self, size: int) -> None:
        """Evict the oldest entries until the rest fits."""
        while self._size > size:
            self._size -= self._entries.pop(0).size


def _read_integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The integer whose first bits are those of the mask at `at`, and where it ends (RFC 7541 5.1)."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while at < len(block) and shift <= 28:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    raise BadBlock("an integer that is too long or breaks off")


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise BadBlock("a field breaks off")
    huffman = block[at] & 0x80
    size, at = _read_integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise BadBlock("a string breaks off")
    text = block[at:end]
    return _unpack(text) if huffman else text, end


def _unpack(text: bytes) -> bytes:
    """A string without its Huffman code."""
    try:
        return decode_huffman(text)
    except HPACKDecodingError as error:
        raise BadBlock("a Huffman code that is none") from error


class Encoder:
    """Writes the header blocks of one connection. A line that has been sent before, to whomever, enters the table."""

    __slots__ = ("_entered", "_entries", "_max", "_places", "_signal", "size")

    def __init__(self) -> None:
        self._entries: list[AnswerField] = []
        """The dynamic table, the newest last."""
        self._places: dict[bytes, int] = {}
        """Lines to how many entries had entered the table when they did."""
        self._entered = 0
        self._max = TABLE_BYTES
        self._signal = -1
        """The smallest size of the table since the last block, to be said; -1 when it has not changed."""
        self.size = 0

    def resize(self, size: int) -> None:
        """The peer takes a table of this size; of more than `TABLE_BYTES` no use is made."""
        size = min(size, TABLE_BYTES)
        if size != self._max:
            self._signal = size if self._signal < 0 else min(size, self._signal)
            self._max = size
            self._shrink(size)

    def encode(self, status: int, fields: list[AnswerField]) -> bytes:
        """The block of an answer, or of trailers (`status` 0)."""
        parts: list[bytes] = []
        if self._signal >= 0:
            if self._signal < self._max:
                parts.append(_integer(self._signal, 0x1F, _TABLE_SIZE))
            parts.append(_integer(self._max, 0x1F, _TABLE_SIZE))
            self._signal = -1
        if status:
            known = _STATUS.get(status)
            parts.append(b"%c\x03%d" % (_STATUS_NAME, status) if known is None else known)
        for field in fields:
            place = self._places.get(field.line)
            if place is not None:
                parts.append(_integer(_STATIC + self._entered - place, 0x7F, _INDEXED))
            elif field.sent and not field.secret and field.size <= LARGEST_INDEXED:
                parts.append(field.indexing or _indexing(field))
                self._add(field)
            else:
                field.sent = True
                parts.append(field.literal or _literal(field))
        return b"".join(parts)

    def _add(self, field: AnswerField) -> None:
        if field.size > self._max:
            self._shrink(0)
            return
        self._shrink(self._max - field.size)
        self._entries.append(field)
        self._places[field.line] = self._entered
        self._entered += 1
        self.size += field.size

    def _shrink(self, size: int) -> None:
        while self.size > size:
            field = self._entries.pop(0)
            del self._places[field.line]
            self.size -= field.size


def _integer(value: int, mask: int, kind: int) -> bytes:
    """An integer behind the bits of a kind (RFC 7541 5.1)."""
    if value < mask:
        return b"%c" % (kind | value)
    parts = [kind | mask]
    value -= mask
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _literal(field: AnswerField) -> bytes:
    """A field that stays out of the table, for good where it is a secret of one client."""
    kind = _NEVER_INDEX if field.secret else _WITHOUT_INDEX
    field.literal = _name(field.name, 0x0F, kind) + _integer(len(field.value), 0x7F, 0) + field.value
    return field.literal


def _indexing(field: AnswerField) -> bytes:
    """A field that enters the table. It will be sent again: worth its Huffman code."""
    packed = _HUFFMAN.encode(field.value)
    text = _integer(len(packed), 0x7F, 0x80) + packed
    if len(packed) >= len(field.value):
        text = _integer(len(field.value), 0x7F, 0) + field.value
    field.indexing = _name(field.name, 0x3F, _INDEXING) + text
    return field.indexing


def _name(name: bytes, mask: int, kind: int) -> bytes:
    index = _STATIC_NAMES.get(name, 0)
    return _integer(index, mask, kind) if index else b"%c%b%b" % (kind, _integer(len(name), 0x7F, 0), name)
