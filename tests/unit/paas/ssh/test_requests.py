"""What a client may request of a connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from paramiko.channel import Channel
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from paas.ssh.control import MAX_CELLS
from paas.ssh.requests import ClientRequests, Terminal


def channel(number: int = 0) -> Channel:
    return cast(Channel, SimpleNamespace(chanid=number))


class Key:
    """A key that counts how often somebody asks whose it is."""

    def __init__(self, blob: bytes, known: bool) -> None:
        self._blob, self._known, self.asked = blob, known, 0

    def asbytes(self) -> bytes:
        return self._blob

    def is_known(self) -> bool:
        self.asked += 1
        return self._known


def test_a_key_is_looked_up_once_for_offer_and_signature() -> None:
    requests = ClientRequests(lambda: True)
    for known, answer in ((True, AUTH_SUCCESSFUL), (False, AUTH_FAILED)):
        key: Any = Key(b"%d" % known, known)
        assert [requests.check_auth_publickey("paas", key) for _ in range(2)] == [answer] * 2
        assert key.asked == 1
    assert requests.check_auth_none("paas") == AUTH_FAILED
    assert requests.get_allowed_auths("paas") == "publickey"


def test_only_sessions_are_opened_and_only_while_there_is_room() -> None:
    assert ClientRequests(lambda: True).check_channel_request("session", 0) == OPEN_SUCCEEDED
    for requests, kind in ((ClientRequests(lambda: False), "session"), (ClientRequests(lambda: True), "x11")):
        assert requests.check_channel_request(kind, 0) == OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


def test_a_channel_gets_one_command_and_its_terminal_before_that() -> None:
    requests = ClientRequests(lambda: True)
    assert requests.check_channel_pty_request(channel(), b"xterm", 100, 40, 0, 0, b"")
    assert requests.check_channel_exec_request(channel(), b"ps")
    assert not requests.check_channel_exec_request(channel(), b"logs")
    assert not requests.check_channel_shell_request(channel())
    assert not requests.check_channel_pty_request(channel(), b"xterm", 100, 40, 0, 0, b"")
    assert requests.check_channel_shell_request(channel(1))
    assert requests.commands == {0: b"ps", 1: None}
    assert not requests.check_channel_env_request(channel(), b"A", b"b")
    assert not requests.check_channel_subsystem_request(channel(), "sftp")


def test_a_terminal_is_resized_and_never_absurd() -> None:
    requests, seen = ClientRequests(lambda: True), []
    requests.resized = lambda number, terminal: seen.append((number, terminal.columns, terminal.rows))
    assert not requests.check_channel_window_change_request(channel(), 90, 30, 0, 0), "it has no terminal"
    requests.check_channel_pty_request(channel(), b"xterm", 0, 0, 0, 0, b"")
    assert requests.check_channel_window_change_request(channel(), 10**6, 30, 0, 0)
    assert seen == [(0, MAX_CELLS, 30)]
    terminal = Terminal(b"x\xff", 0, 0)
    assert (terminal.term, terminal.columns, terminal.rows) == ("x\ufffd", 80, 24)
