"""Session ticket keys that all workers share, so that a client resumes at any of them, and after their restarts.

Python's ssl has no call for this, OpenSSL has: it is called through ctypes on the context that the ssl module made,
whose address is the first field of the Python object. Whether that holds is tried in a process of its own first;
where it does not, each worker keeps the keys that OpenSSL made for it, and other workers do full handshakes.
"""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import faulthandler
import fcntl
import os
import resource
import ssl
import tempfile
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 80
"""Name, HMAC key and AES key: SSL_CTX_set_tlsext_ticket_keys(3)."""
RENEWED_S: Final = 12 * 3600
LOOKED_AT_S: Final = 60.0
AGAIN_S: Final = 1.0
_SET_KEYS: Final = 59
_GET_KEYS: Final = 58
_GET_MAX_VERSION: Final = 131


class Tickets:
    """The key of `base`, from a file that is made anew when it is old. A ticket of an older key no longer resumes."""

    def __init__(self, base: ssl.SSLContext, file: Path) -> None:
        self._base = base
        self._file = file
        self._key = b""
        self._next = 0.0
        self.shared = _works()

    def refresh(self, now: float, wall: float) -> None:
        """Look, once a minute, whether there is another key; to be called before handshakes."""
        if self.shared and now >= self._next:
            self._next = now + AGAIN_S
            with contextlib.suppress(OSError):
                key = self._read(wall)
                self._next = now + LOOKED_AT_S
                if key != self._key:
                    _control(self._base, _SET_KEYS, ctypes.create_string_buffer(key, KEY_BYTES))
                    self._key = key

    def _read(self, wall: float) -> bytes:
        """The key that is in the file, after putting a new one there where that is due. Raises OSError, also while
        another worker does so."""
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                key = self._file.read_bytes()
                if len(key) == KEY_BYTES and wall - self._file.stat().st_mtime < RENEWED_S:
                    return key
            fd, name = tempfile.mkstemp(prefix=self._file.name, dir=self._file.parent)  # mode 0600
            with os.fdopen(fd, "wb") as file:
                file.write(os.urandom(KEY_BYTES))
            os.replace(name, self._file)
            return self._file.read_bytes()
        finally:
            os.close(folder)


def _address(context: ssl.SSLContext) -> int | None:
    """Where OpenSSL's context of this object is."""
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value


def _control(context: ssl.SSLContext, command: int, buffer: ctypes.Array[ctypes.c_char] | None = None) -> int:
    call = ctypes.CDLL(getattr(_ssl, "__file__", None)).SSL_CTX_ctrl
    call.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    call.restype = ctypes.c_long
    return int(call(_address(context), command, len(buffer) if buffer is not None else 0, buffer))


def _works() -> bool:
    """Whether the call does what it should, tried in a process where a crash does no harm."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    with contextlib.suppress(BaseException):
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        key, found = (ctypes.create_string_buffer(data, KEY_BYTES) for data in (os.urandom(KEY_BYTES), b""))
        if (
            _control(context, _GET_MAX_VERSION) == ssl.TLSVersion.TLSv1_2
            and _control(context, _SET_KEYS, key) == _control(context, _GET_KEYS, found) == 1
            and key.raw == found.raw
        ):
            os._exit(0)
    os._exit(1)
