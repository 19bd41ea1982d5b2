"""Connections to hosts that a tenant names: which addresses may be reached, and for how long.

The address that is checked is the one that is connected to. The internet may be reached; the machine itself, private
networks and what only looks like the internet may not, unless the operator names them.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runtime.image.errors import RegistryError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CONNECT_S = 10.0
IDLE_S = 60.0
"""How long a peer may be silent."""
_ADDRESSES_TRIED = 4
_PIECE = 256 * 1024
_WRAPPERS = [
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
]
"""IPv6 addresses that hold an IPv4 one: NAT64, 6to4, Teredo."""
_NOWHERE = [ipaddress.ip_network(text) for text in ("fec0::/10", "3fff::/20")]
"""What the standard library takes for global: site-local addresses (RFC 3879), documentation (RFC 9637)."""


@dataclass(frozen=True)
class Reach:
    """Who may be reached. `private`: networks that the operator allows; `tls`: whose certificates are believed."""

    private: Sequence[Network] = ()
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def allows(self, address: Address) -> bool:
        """Whether connections may be made to the address, as far as it can be told from itself."""
        if any(address in network for network in self.private):
            return True
        wrapped = any(address in network for network in (*_WRAPPERS, *_NOWHERE))
        return address.is_global and not address.is_multicast and not address.is_reserved and not wrapped

    def is_private(self, address: Address) -> bool:
        """Whether the operator named the address, so that it may be spoken to without TLS."""
        return any(address in network for network in self.private)


@dataclass(frozen=True)
class Patience:
    """When a transfer ends at the latest (monotonic seconds), and whether its client has gone."""

    deadline: float
    cancelled: Callable[[], bool] = lambda: False

    def left(self, most: float = IDLE_S) -> float:
        """Seconds that one wait may take. Raises RegistryError when there are none."""
        if self.cancelled():
            raise RegistryError("the transfer was cancelled")
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RegistryError("the transfer took too long")
        return min(most, left)


class Stream:
    """A connection whose every wait is bounded; what http.client needs of a socket."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._sock, self._patience = sock, patience
        self.left: int | None = None
        """Bytes that may still be received; None for no bound."""

    def receive(self, buffer: memoryview) -> int:
        """Receive what there is, at least a byte unless the peer has ended. Raises RegistryError beyond the bound."""
        self._sock.settimeout(self._patience.left())
        size = self._sock.recv_into(buffer)
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise RegistryError("the registry's answer has too many headers")
        return size

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._sock.settimeout(self._patience.left())
            view = view[self._sock.send(view[:_PIECE]) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self))

    def close(self) -> None:
        """Nothing: http.client closes before the answer is read. The context manager closes."""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()


class _Reading(io.RawIOBase):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._stream.receive(buffer)


def connect(reach: Reach, patience: Patience, host: str, port: int, *, plain: bool) -> Stream:
    """Connect to the first allowed address of `host` that answers, with TLS unless `plain`. Raises RegistryError."""
    sock = _connect(_allowed(reach, host, port, plain=plain), patience, host)
    if plain:
        return Stream(sock, patience)
    try:
        return Stream(reach.tls.wrap_socket(sock, server_hostname=host), patience)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise RegistryError(f"the certificate of {host} is not believed: {error.verify_message}") from None
    except OSError as error:
        sock.close()
        raise RegistryError(f"{host}:{port} does not speak TLS: {_reason(error)}") from None


def _allowed(reach: Reach, host: str, port: int, *, plain: bool) -> list[tuple[Address, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RegistryError(f"the name {host} is not known") from None
    addresses = dict.fromkeys(_address(str(entry[4][0])) for entry in found)
    allowed = [
        address
        for address in addresses
        if reach.allows(address) and (reach.is_private(address) or not _is_own(address))
    ]
    if not allowed:
        raise RegistryError(f"{host} is an address of the machine or of a private network")
    if plain and not all(map(reach.is_private, allowed)):
        raise RegistryError(f"{host} may be spoken to over TLS only")
    return [(address, port) for address in allowed[:_ADDRESSES_TRIED]]


def _address(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _is_own(address: Address) -> bool:
    """Whether it is one of this machine's: then the kernel would answer from the same address. Sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return _address(str(probe.getsockname()[0])) == address
    except OSError:
        return False


def _connect(addresses: list[tuple[Address, int]], patience: Patience, host: str) -> socket.socket:
    reason = ""
    for address, port in addresses:
        try:
            return socket.create_connection((str(address), port), timeout=patience.left(CONNECT_S))
        except OSError as error:
            reason = _reason(error)
    raise RegistryError(f"{host}:{addresses[0][1]} cannot be reached: {reason}")


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error.strerror or getattr(error, "reason", "") or error)[:200]
