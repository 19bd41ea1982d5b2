"""The parent of an SSH connection, when the process that speaks SSH ends in an untidy way."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from paas.ssh import control
from paas.ssh.monitor import Monitor


@pytest.mark.parametrize("unread", [False, True])
def test_a_speaker_that_ends_with_words_unread_has_just_ended(unread: bool) -> None:
    """Linux answers a read with ECONNRESET when the other end of a pair was closed with data left in it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ctx = SimpleNamespace(limits=SimpleNamespace(sessions=10))
    with ours:
        if unread:
            ours.send(control.pack(b"exit", 1, b"0"))
        theirs.close()
        Monitor(ours, cast(Any, ctx), cast(Any, None)).serve()
