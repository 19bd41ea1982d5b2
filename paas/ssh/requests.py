"""What a client may request: a login by public key, sessions, a terminal, one command or shell per session."""

from __future__ import annotations

from collections.abc import Callable

from paramiko.channel import Channel
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)
from paramiko.server import ServerInterface

from paas.ssh.control import MAX_CELLS, CommandRequest
from paas.ssh.paramiko_transport import OfferedKey


class Terminal:
    """The client's terminal: its kind and size."""

    def __init__(self, term: bytes, columns: int, rows: int) -> None:
        self.term = term.decode("ascii", "replace")
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """A client without a window sends 0."""
        self.columns = min(columns, MAX_CELLS) or CommandRequest.columns
        self.rows = min(rows, MAX_CELLS) or CommandRequest.rows


class ClientRequests(ServerInterface):
    """Answers paramiko's questions. `commands` are those to start once the answer is sent; None is a shell."""

    def __init__(self, has_room: Callable[[], bool]) -> None:
        self._has_room = has_room
        self._key_known: dict[bytes, bool] = {}
        self.terminals: dict[int, Terminal] = {}
        self.commands: dict[int, bytes | None] = {}
        self.resized: Callable[[int, Terminal], None] = lambda _number, _terminal: None

    # login
    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_none(self, username: str) -> int:
        return AUTH_FAILED

    def check_auth_publickey(self, username: str, key: OfferedKey) -> int:  # type: ignore[override]
        """Called for the offer of a key and again for its signature; the monitor is asked once."""
        blob = key.asbytes()
        if blob not in self._key_known:
            self._key_known[blob] = key.is_known()
        return AUTH_SUCCESSFUL if self._key_known[blob] else AUTH_FAILED

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
        if channel.chanid in self.commands:
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
        return self._accept(channel, command)

    def check_channel_shell_request(self, channel: Channel) -> bool:
        return self._accept(channel, None)

    def _accept(self, channel: Channel, command: bytes | None) -> bool:
        """At most one command per channel."""
        if channel.chanid in self.commands:
            return False
        self.commands[channel.chanid] = command
        return True

    def check_channel_env_request(self, channel: Channel, name: bytes, value: bytes) -> bool:
        return False

    def check_channel_subsystem_request(self, channel: Channel, name: str) -> bool:
        return False
