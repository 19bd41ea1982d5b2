"""zstd by the machine's libzstd (zstd.h, the streaming API), which Python 3.11 lacks and Debian's dpkg cannot do without.

Load it before a child is confined. The calls are those of libzstd 1.4 and later, and give up Python's lock.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from runtime.image.errors import BadArchive, ImageError

MAGIC = b"\x28\xb5\x2f\xfd"
_WINDOW_LOG = 27
"""What `zstd -d` takes without --memory: a frame makes its reader hold 128 MiB at most."""
_PIECE = 256 * 1024
_WINDOW_LOG_MAX, _LEVEL, _CHECKSUM = 100, 100, 201
_CONTINUE, _END = 0, 2


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer: an address, its size, and how far it was used."""

    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("used", ctypes.c_size_t))


@cache
def load() -> Any:
    """The library; None on a machine without it."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    buffer, pointer, number = ctypes.POINTER(_Buffer), ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("ZSTD_createDCtx", pointer, ()),
        ("ZSTD_freeDCtx", ctypes.c_size_t, (pointer,)),
        ("ZSTD_DCtx_setParameter", ctypes.c_size_t, (pointer, number, number)),
        ("ZSTD_decompressStream", ctypes.c_size_t, (pointer, buffer, buffer)),
        ("ZSTD_createCCtx", pointer, ()),
        ("ZSTD_freeCCtx", ctypes.c_size_t, (pointer,)),
        ("ZSTD_CCtx_setParameter", ctypes.c_size_t, (pointer, number, number)),
        ("ZSTD_compressStream2", ctypes.c_size_t, (pointer, buffer, buffer, number)),
        ("ZSTD_isError", ctypes.c_uint, (ctypes.c_size_t,)),
        ("ZSTD_getErrorName", ctypes.c_char_p, (ctypes.c_size_t,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Stream:
    """A context of the library, freed with the object, and its two buffers."""

    def __init__(self, kind: str) -> None:
        library = load()
        if library is None:
            raise ImageError("zstd needs libzstd on the server: apt-get install libzstd1")
        self._library, self._free = library, getattr(library, f"ZSTD_free{kind}")
        self._context = getattr(library, f"ZSTD_create{kind}")()
        if not self._context:
            raise MemoryError
        self._room = ctypes.create_string_buffer(_PIECE)
        self._source = _Buffer()

    def __del__(self) -> None:
        if context := getattr(self, "_context", None):
            self._free(context)

    def _give(self, data: bytes) -> None:
        self._given = data  # as long as the library reads it
        self._source = _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)

    def _call(self, name: str, *more: int, room: int = _PIECE) -> tuple[bytes, int]:
        """What a streaming call wrote, and what it answered. Raises BadArchive."""
        target = _Buffer(ctypes.cast(self._room, ctypes.c_void_p), room, 0)
        answer = getattr(self._library, name)(
            self._context, ctypes.byref(target), ctypes.byref(self._source), *more
        )
        if self._library.ZSTD_isError(answer):
            said = self._library.ZSTD_getErrorName(answer).decode("ascii", "replace")
            raise BadArchive(f"a zstd stream that cannot be read: {said}")
        return ctypes.string_at(self._room, target.used), answer


class Reader(_Stream):
    """Reads frames one after the other, each to its end. Raises BadArchive; ImageError without the library."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        super().__init__("DCtx")
        self._library.ZSTD_DCtx_setParameter(self._context, _WINDOW_LOG_MAX, _WINDOW_LOG)
        self._read, self._open = read, True

    def read(self, size: int) -> bytes:
        """At most `size` bytes, empty at the end."""
        while True:
            if self._source.used == self._source.size:
                data = self._read(_PIECE)
                self._give(data)
                if not data and not self._open:
                    return b""
            before = self._source.used
            found, hint = self._call("ZSTD_decompressStream", room=min(size, _PIECE))
            self._open = hint != 0
            if found:
                return found
            if self._open and not self._given and before == self._source.used:
                raise BadArchive("a zstd stream that ends too early")


class Writer(_Stream):
    """Compresses, with a checksum. The same bytes in the same pieces give the same frame. Raises ImageError without the library."""

    def __init__(self, level: int) -> None:
        super().__init__("CCtx")
        for parameter, value in ((_LEVEL, level), (_CHECKSUM, 1)):
            self._library.ZSTD_CCtx_setParameter(self._context, parameter, value)

    def compress(self, data: bytes) -> bytes:
        return self._pass(data, _CONTINUE)

    def flush(self) -> bytes:
        """The end of the frame."""
        return self._pass(b"", _END)

    def _pass(self, data: bytes, mode: int) -> bytes:
        self._give(data)
        parts, left = [], 1
        while left if mode == _END else self._source.used < self._source.size:
            part, left = self._call("ZSTD_compressStream2", mode)
            parts.append(part)
        return b"".join(parts)
