"""The one call of OpenSSL that Python's ssl module lacks: reading and setting session ticket keys of a context.

It is made through ctypes on the SSL_CTX of a context, whose pointer is the first field of `PySSLContext` (Modules/_ssl.c).
Nothing else in the router depends on a private layout. `works` tries the call in a process of its
own, where a crash does no harm.
"""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import faulthandler
import os
import resource
import ssl
from typing import Final

KEY_BYTES: Final = 80
"""Name, HMAC key and AES key: SSL_CTX_set_tlsext_ticket_keys(3)."""
_GET_KEYS: Final = 58
_SET_KEYS: Final = 59
_GET_MAX_VERSION: Final = 131


def _address(context: ssl.SSLContext) -> int | None:
    """The address of the context's SSL_CTX."""
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value


def _control(context: ssl.SSLContext, command: int, buffer: ctypes.Array[ctypes.c_char] | None = None) -> int:
    call = ctypes.CDLL(getattr(_ssl, "__file__", None)).SSL_CTX_ctrl
    call.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    call.restype = ctypes.c_long
    return int(call(_address(context), command, len(buffer) if buffer is not None else 0, buffer))


def set_ticket_keys(context: ssl.SSLContext, key: bytes) -> bool:
    """Use this key, KEY_BYTES long, for session tickets from now on."""
    return _control(context, _SET_KEYS, ctypes.create_string_buffer(key, KEY_BYTES)) == 1


def ticket_keys(context: ssl.SSLContext) -> bytes:
    found = ctypes.create_string_buffer(KEY_BYTES)
    return found.raw if _control(context, _GET_KEYS, found) == 1 else b""


def max_version(context: ssl.SSLContext) -> int:
    return _control(context, _GET_MAX_VERSION)


def works() -> bool:
    """Whether the calls reach OpenSSL here."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    with contextlib.suppress(BaseException):
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        context, key = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), os.urandom(KEY_BYTES)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        right = max_version(context) == ssl.TLSVersion.TLSv1_2  # first: it only reads
        if right and set_ticket_keys(context, key) and ticket_keys(context) == key:
            os._exit(0)
    os._exit(1)
