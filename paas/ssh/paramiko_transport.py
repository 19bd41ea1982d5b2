"""paramiko's server, hardened: bounded packets, modern algorithms only, keys that are never parsed here, quiet logs.

Stock paramiko reads packets of any length before login, offers SHA-1 and CBC, logs a traceback for every stranger, and
drops the connection when a client's agent offers one key of an unknown kind. All use of paramiko's private members is
in this file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import MSG_CHANNEL_REQUEST
from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from paas.keys.proof import LOGINS
from paas.ssh.control import SignedLogin
from paas.ssh.login import ALGORITHMS
from paas.ssh.monitor_client import MonitorClient

VERSION = "SSH-2.0-paas"
MAX_PACKET_BYTES = 256 * 1024
MAX_BANNER_BYTES = 8 * 1024
KEEPALIVE_S = 15


class BoundedPacketizer(Packetizer):
    """Refuses a packet (and a version line) by its announced length, before a byte of it is kept."""

    _banner_left = MAX_BANNER_BYTES
    _version_sent = False

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if not 0 <= n <= MAX_PACKET_BYTES:
            raise SSHException(f"A packet of {n} bytes")
        data: bytes = super().read_all(n, check_rekey)
        return data

    def _read_timeout(self, timeout: float) -> bytes:
        data: bytes = super()._read_timeout(timeout)  # type: ignore[misc]
        self._banner_left -= len(data)
        if self._banner_left < 0:
            raise SSHException("No end of the version line")
        return data

    def write_all(self, out: Any) -> None:
        """Drops the version line, always the first thing written: the accept loop has sent it."""
        if self._version_sent:
            super().write_all(out)
        self._version_sent = True


class HostKey:
    """The host key as paramiko uses it: the public half is here, the monitor signs."""

    def __init__(self, public: bytes, monitor: MonitorClient) -> None:
        self._public = public
        self._monitor = monitor

    def get_name(self) -> str:
        return "ssh-ed25519"

    def asbytes(self) -> bytes:
        return self._public

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        return self._monitor.sign(data)


class OfferedKey:
    """A client's key, never parsed here: the monitor knows its user and checks its signature."""

    public_blob = None

    def __init__(self, login: str, algorithm: str, blob: bytes, monitor: MonitorClient) -> None:
        self._login = login
        self._algorithm = algorithm
        self._blob = blob
        self._monitor = monitor

    def is_known(self) -> bool:
        """False also for a key of an unaccepted kind, which in stock paramiko ends the connection."""
        return self._login in LOGINS and self._algorithm in ALGORITHMS and self._monitor.offer(self._blob)

    def get_name(self) -> str:
        return self._algorithm

    def asbytes(self) -> bytes:
        return self._blob

    def verify_ssh_sig(self, data: bytes, msg: Message) -> bool:
        return self._monitor.prove(SignedLogin(self._login, self._algorithm, self._blob, msg.asbytes()))


class KeyAuth(AuthHandler):
    """Passes a client's keys on unparsed."""

    transport: HardenedTransport

    def _generate_key_from_request(self, algorithm: str, keyblob: bytes) -> OfferedKey:
        return OfferedKey(str(self.auth_username), algorithm, keyblob, self.transport.monitor)


# the name of RFC 8731, which paramiko knows by its older name only
_KEX = {
    **Transport._kex_info,  # type: ignore[attr-defined]
    "curve25519-sha256": Transport._kex_info["curve25519-sha256@libssh.org"],  # type: ignore[attr-defined]
}


class HardenedTransport(Transport):
    """One connection. `after_request` is called once the answer to a channel request has been sent."""

    _preferred_ciphers = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
    _preferred_macs = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
    _preferred_keys = ("ssh-ed25519",)
    _preferred_pubkeys = ALGORITHMS
    _kex_info: ClassVar[dict[str, Any]] = _KEX
    _preferred_kex = tuple(
        name
        for name in ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org")
        if name in _KEX
    )
    _preferred_compression = ("none",)
    _active_check_timeout = 5.0

    def __init__(self, sock: Any, monitor: MonitorClient, after_request: Callable[[Channel], None]) -> None:
        super().__init__(sock, packetizer_class=BoundedPacketizer)
        self.local_version = VERSION
        self.monitor = monitor
        self.after_request = after_request

    def _parse_newkeys(self, m: Message) -> None:
        # paramiko creates its own handler here unless there is one
        if self.auth_handler is None:
            self.auth_handler = KeyAuth(self)
        super()._parse_newkeys(m)  # type: ignore[misc]

    def open_channels(self) -> int:
        return len(self._channels)  # type: ignore[attr-defined]


def _answer_request(channel: Channel, m: Message) -> None:
    """Answer first: a command's output must not overtake the answer to its request."""
    channel._handle_request(m)  # type: ignore[attr-defined]
    transport = channel.get_transport()
    assert isinstance(transport, HardenedTransport)
    transport.after_request(channel)


HardenedTransport._channel_handler_table = {  # type: ignore[attr-defined]
    **Transport._channel_handler_table,  # type: ignore[attr-defined]
    MSG_CHANNEL_REQUEST: _answer_request,
}


def silence_library() -> None:
    """paramiko logs what strangers do, with tracebacks: of no use to an operator."""
    logger = logging.getLogger("paramiko")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    logger.addHandler(logging.NullHandler())
