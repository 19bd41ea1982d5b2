"""Certificates by server name: a file is loaded at the first handshake that needs it, and kept while it is used.

A file is named by its content, so a new certificate for a name is a new file: new handshakes use it, open connections
keep the old one. All contexts share the sessions of `base`, so clients resume across the replacement.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325 4.2). Those of TLS 1.3 all have
both."""
KEPT: Final = 1024
RETRY_S: Final = 5.0


def new_context(protocols: list[str]) -> ssl.SSLContext:
    """A context without a certificate; `protocols` are for ALPN, the best first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(protocols)
    context.num_tickets = 1  # of TLS 1.3; each costs a tenth of a handshake
    return context


def be_quiet(unraisable: sys.UnraisableHookArgs) -> None:
    """For sys.unraisablehook: a client that sends a non-ASCII server name gets its alert, and nothing is logged."""
    if not isinstance(unraisable.exc_value, UnicodeDecodeError):
        sys.__unraisablehook__(unraisable)


class Certificates:
    """`find` gives the name of the file in `folder` with the certificate for a lower-case name, or None."""

    def __init__(
        self, folder: Path, find: Callable[[str], str | None], protocols: list[str], kept: int = KEPT
    ) -> None:
        self._folder = folder
        self._find = find
        self._protocols = protocols
        self._kept = kept
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._failed: OrderedDict[str, float] = OrderedDict()
        """Files that could not be loaded, with the time of the last attempt (monotonic seconds)."""
        self.base = new_context(protocols)
        """Every handshake begins with this context."""
        self.base.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, base: ssl.SSLContext) -> int | None:
        """OpenSSL calls this with the server name; returns the alert to end with, or None."""
        file = self._find(name.lower().rstrip(".")) if name else None
        context = self._context(file) if file is not None else None
        if context is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        return None

    def _context(self, file: str) -> ssl.SSLContext | None:
        context = self._contexts.get(file)
        if context is not None:
            self._contexts.move_to_end(file)
            return context
        if monotonic() < self._failed.get(file, -RETRY_S) + RETRY_S:
            return None
        context = new_context(self._protocols)
        try:
            context.load_cert_chain(self._folder / file, password="")
        except (OSError, ValueError) as error:
            if file not in self._failed:
                print(
                    f"router event=bad-certificate file={file} error={json.dumps(str(error))}",
                    file=sys.stderr,
                    flush=True,
                )
            self._failed[file] = monotonic()
            if len(self._failed) > self._kept:
                self._failed.popitem(last=False)
            return None
        self._failed.pop(file, None)
        self._contexts[file] = context
        if len(self._contexts) > self._kept:
            self._contexts.popitem(last=False)
        return context
