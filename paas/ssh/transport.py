"""paramiko's server, hardened: bounded packets, modern algorithms only, public keys only, no forwarding, quiet logs.

What stock paramiko leaves open: packets of any length before login, SHA-1 and CBC, a traceback in the log for every
stranger, and a connection lost when a client's agent offers one key of a kind unknown here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    MSG_CHANNEL_REQUEST,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)
from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.server import ServerInterface
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from paas.keys.proof import LOGINS
from paas.ssh.control import MAX_CELLS, Asked, Proving
from paas.ssh.link import Link
from paas.ssh.login import ALGORITHMS

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
        """The version line, always the first thing written, was sent when the connection was accepted."""
        if self._version_sent:
            super().write_all(out)
        self._version_sent = True


class HostKey:
    """The public half of the host key, as paramiko wants it; the monitor signs."""

    def __init__(self, public: bytes, link: Link) -> None:
        self._public = public
        self._link = link

    def get_name(self) -> str:
        return "ssh-ed25519"

    def asbytes(self) -> bytes:
        return self._public

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        return self._link.sign(data)


class OfferedKey:
    """A client's key as it came, never parsed here: the monitor knows whose it is and whether a signature is good."""

    public_blob = None

    def __init__(self, login: str, algorithm: str, blob: bytes, link: Link) -> None:
        self._login = login
        self._algorithm = algorithm
        self._blob = blob
        self._link = link

    def is_known(self) -> bool:
        """A key of a kind that is not accepted is refused like any other, instead of ending the connection."""
        return self._login in LOGINS and self._algorithm in ALGORITHMS and self._link.offer(self._blob)

    def get_name(self) -> str:
        return self._algorithm

    def asbytes(self) -> bytes:
        return self._blob

    def verify_ssh_sig(self, data: bytes, msg: Message) -> bool:
        return self._link.prove(Proving(self._login, self._algorithm, self._blob, msg.asbytes()))


class KeyAuth(AuthHandler):
    """Takes a client's keys as they come."""

    transport: HardenedTransport

    def _generate_key_from_request(self, algorithm: str, keyblob: bytes) -> OfferedKey:
        return OfferedKey(str(self.auth_username), algorithm, keyblob, self.transport.link)


_KEX = {
    **Transport._kex_info,  # type: ignore[attr-defined]
    "curve25519-sha256": Transport._kex_info["curve25519-sha256@libssh.org"],  # type: ignore[attr-defined]
}


class HardenedTransport(Transport):
    """One connection. `after_request` is called when the answer to a channel request has been sent."""

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

    def __init__(self, sock: Any, link: Link, after_request: Callable[[Channel], None]) -> None:
        super().__init__(sock, packetizer_class=BoundedPacketizer)
        self.local_version = VERSION
        self.link = link
        self.after_request = after_request

    def _parse_newkeys(self, m: Message) -> None:
        if self.auth_handler is None:
            self.auth_handler = KeyAuth(self)
        super()._parse_newkeys(m)  # type: ignore[misc]

    def open_channels(self) -> int:
        return len(self._channels)  # type: ignore[attr-defined]


def _answer_request(channel: Channel, m: Message) -> None:
    """Answer first, then start what was asked for."""
    channel._handle_request(m)  # type: ignore[attr-defined]
    transport = channel.get_transport()
    assert isinstance(transport, HardenedTransport)
    transport.after_request(channel)


HardenedTransport._channel_handler_table = {  # type: ignore[attr-defined]
    **Transport._channel_handler_table,  # type: ignore[attr-defined]
    MSG_CHANNEL_REQUEST: _answer_request,
}


def silence_library() -> None:
    """paramiko logs what strangers do, with tracebacks; whoever reads our log wants neither."""
    logger = logging.getLogger("paramiko")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    logger.addHandler(logging.NullHandler())


class Terminal:
    """What the client said of its terminal."""

    def __init__(self, term: bytes, columns: int, rows: int) -> None:
        self.term = term.decode("ascii", "replace")
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """A client without a window of its own says 0."""
        self.columns = min(columns, MAX_CELLS) or Asked.columns
        self.rows = min(rows, MAX_CELLS) or Asked.rows


class Front(ServerInterface):
    """What a client may ask for. `asked` gathers what to start after the answer is out."""

    def __init__(self, has_room: Callable[[], bool]) -> None:
        self._has_room = has_room
        self._known: dict[bytes, bool] = {}
        self.terminals: dict[int, Terminal] = {}
        self.asked: dict[int, bytes | None] = {}
        self.resized: Callable[[int, Terminal], None] = lambda _number, _terminal: None

    # login
    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_none(self, username: str) -> int:
        return AUTH_FAILED

    def check_auth_publickey(self, username: str, key: OfferedKey) -> int:  # type: ignore[override]
        """Asked once for the offer and once for the signature; the second answer is the first."""
        blob = key.asbytes()
        if blob not in self._known:
            self._known[blob] = key.is_known()
        return AUTH_SUCCESSFUL if self._known[blob] else AUTH_FAILED

    # channels
    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session" or not self._has_room():
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return OPEN_SUCCEEDED

    def check_channel_pty_request(
        self,
        channel: Channel,
        term: bytes,
        width: int,
        height: int,
        pixelwidth: int,
        pixelheight: int,
        modes: bytes,
    ) -> bool:
        if channel.chanid in self.asked:
            return False
        self.terminals[channel.chanid] = Terminal(term, width, height)
        return True

    def check_channel_window_change_request(
        self, channel: Channel, width: int, height: int, pixelwidth: int, pixelheight: int
    ) -> bool:
        terminal = self.terminals.get(channel.chanid)
        if terminal is None:
            return False
        terminal.resize(width, height)
        self.resized(channel.chanid, terminal)
        return True

    def check_channel_exec_request(self, channel: Channel, command: bytes) -> bool:
        return self._ask(channel, command)

    def check_channel_shell_request(self, channel: Channel) -> bool:
        return self._ask(channel, None)

    def _ask(self, channel: Channel, command: bytes | None) -> bool:
        """One command a channel."""
        if channel.chanid in self.asked:
            return False
        self.asked[channel.chanid] = command
        return True

    def check_channel_env_request(self, channel: Channel, name: bytes, value: bytes) -> bool:
        return False

    def check_channel_subsystem_request(self, channel: Channel, name: str) -> bool:
        return False
