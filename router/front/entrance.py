"""Before a client's first request: the header of the PROXY protocol, the limit of connections, the TLS handshake.

Each step is the handler of the descriptor until it is done; then it passes the descriptor on, with the bytes that it
has read.
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from router.front.client import ClientConnection
from router.front.client_limits import ClientLimit
from router.front.http1 import Http1Connection
from router.io.certificates import Certificates
from router.io.stream import BROKEN, SENT, Stream
from router.io.tls import Secure
from router.shared import Shared
from router.wire.proxyprotocol import BadProxyHeader, parse

PROTOCOLS: Final = ["h2", "http/1.1"]
"""The names for ALPN, the preferred one first."""
HANDSHAKE_RECORD: Final = 22
_PLAIN_TEXT: Final = b"This is a plain HTTP request on an HTTPS port.\n"
PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)


class Entrance:
    """Turns the accepted sockets of a listener into client connections. With `certificates` it speaks TLS; connections
    from the networks `proxied` begin with a header of the PROXY protocol."""

    def __init__(
        self,
        shared: Shared,
        port: int,
        certificates: Certificates | None = None,
        proxied: tuple[IPv4Network | IPv6Network, ...] = (),
        client_limit: ClientLimit | None = None,
    ) -> None:
        self.shared = shared
        self.port = port
        self.certificates = certificates
        self.proxied = proxied
        self.client_limit = client_limit or ClientLimit(0)
        self._said_at = 0.0

    def accept(self, fd: int, address: bytes) -> bool:
        """Begin a new connection; False if the caller must close it."""
        if self.proxied and self._is_proxied(address):
            ProxyHeaderReader(self, fd, address)
            return True
        return self.enter(fd, address)

    def _is_proxied(self, address: bytes) -> bool:
        client = ip_address(address.decode())
        return any(client in network for network in self.proxied)

    def enter(self, fd: int, address: bytes, data: bytes = b"") -> bool:
        """Continue with a connection whose client is known and has sent `data`; False if the client has too many."""
        if (
            self.client_limit.limit
            and not self.shared.trusts(address)
            and not self.client_limit.admit(fd, address)
        ):
            self.shared.metrics.turned_away += 1
            self.say("client-limit", address, f"refused={self.shared.metrics.turned_away}")
            return False
        first: Stream
        if self.certificates is None:
            first = Http1Connection(self.shared, fd, address, self.port)
        else:
            first = Handshake(self, fd, address, self.certificates)
        if data:
            first.data_received(data)
        return True

    def say(self, event: str, address: bytes, text: str) -> None:
        """Print a line for the operator, at most one a second: an attack causes many."""
        now = self.shared.loop.now
        if now - self._said_at >= 1.0:
            self._said_at = now
            print(f"router event={event} address={address.decode()} {text}", file=sys.stderr, flush=True)


class Arrival(Stream):
    """A connection that is no client yet; it must be done within `head_s`."""

    __slots__ = ("address", "entrance", "refused", "shared", "since")

    def __init__(self, entrance: Entrance, fd: int, address: bytes) -> None:
        super().__init__(entrance.shared.loop, fd)
        self.entrance = entrance
        self.shared = entrance.shared
        self.address = address
        self.since = self.loop.now
        self.refused = False
        self.shared.clients.add(self)
        self.loop.handle(fd, self)

    def readable(self) -> None:
        data = self.receive()
        if data is None:
            return
        if data:
            if not self.refused:
                self.data_received(data)
        else:
            self.lost()

    def refuse(self, answer: bytes) -> None:
        """Send an answer and close the sending side first: a reset could overtake the answer."""
        self.refused = True
        self.since = self.loop.now
        if self.send(answer) == SENT:
            self.drained()

    def drained(self) -> None:
        if self.refused and not self.shut():
            self.lost()

    def detach(self) -> int:
        """The descriptor, for the next handler."""
        self.shared.clients.discard(self)
        fd, self.fd = self.fd, -1
        return fd

    def lost(self) -> None:
        self.shared.clients.discard(self)
        self.close()

    def check(self, now: float) -> None:
        limits = self.shared.limits
        if now - self.since > (limits.linger_s if self.refused else limits.head_s):
            self.lost()


class ProxyHeaderReader(Arrival):
    """Waits for the header of the PROXY protocol."""

    __slots__ = ("buffer",)

    def __init__(self, entrance: Entrance, fd: int, address: bytes) -> None:
        self.buffer = b""
        super().__init__(entrance, fd, address)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        try:
            header = parse(self.buffer)
        except BadProxyHeader as error:
            self.entrance.say("bad-preface", self.address, f'error="{error}"')
            self.lost()
            return
        if header is None:
            return
        size, address = header
        fd, leftover = self.detach(), self.buffer[size:]
        if not self.entrance.enter(fd, address or self.address, leftover):
            self.loop.close(fd)


class Handshake(Arrival):
    """The TLS handshake."""

    __slots__ = ("begun", "shaken", "tls")

    def __init__(self, entrance: Entrance, fd: int, address: bytes, certificates: Certificates) -> None:
        super().__init__(entrance, fd, address)
        self.tls = Secure(certificates.base)
        self.begun = False
        self.shaken = False

    def data_received(self, data: bytes) -> None:
        if not self.begun and data[0] != HANDSHAKE_RECORD:
            self.refuse(PLAIN if 65 <= data[0] <= 90 else b"")
            return
        self.begun = True
        try:
            done = self.tls.shake(data)
        except OSError:
            self.refuse(self.tls.replies())
            return
        self.shaken = done
        replies = self.tls.replies()
        sent = self.send(replies) if replies else SENT
        if sent == BROKEN:
            self.lost()
        elif done and sent == SENT:
            self._enter()
        elif done:
            self.pause()

    def drained(self) -> None:
        if self.shaken:
            self.resume()
            self._enter()
        else:
            super().drained()

    def refuse(self, answer: bytes) -> None:
        self.shared.metrics.tls_failures += 1
        super().refuse(answer)

    def lost(self) -> None:
        if self.begun and not (self.shaken or self.refused):
            self.shared.metrics.tls_failures += 1
        super().lost()

    def _enter(self) -> None:
        """Hand over to HTTP/2 or HTTP/1; the first request may have come with the end of the handshake."""
        self.shared.metrics.tls_handshakes += 1
        self.shared.metrics.tls_resumptions += self.tls.resumed
        port, client_limit = self.entrance.port, self.entrance.client_limit
        client: ClientConnection
        if self.tls.protocol == "h2":
            from router.front.h2 import Http2Connection  # imported when needed: its tables cost memory

            client = multiplexed = Http2Connection(self.shared, self.detach(), self.address, port, self.tls)
            if client_limit.limit and not client.trusted:
                multiplexed.client_limit = client_limit
        else:
            client = Http1Connection(self.shared, self.detach(), self.address, port, self.tls)
        client.decrypt(b"")
