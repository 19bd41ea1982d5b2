"""Connections of one user who has logged in: they leave room for everybody else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import paramiko
from harness.git import Client, GitDaemon
from harness.platform import wait_for

from paas.git.limits import Limits


@contextlib.contextmanager
def idle(daemon: GitDaemon, client: Client) -> Iterator[paramiko.Transport]:
    """A connection that has logged in, used one channel, and stays."""
    opened = paramiko.Transport(("127.0.0.1", daemon.port))
    try:
        opened.start_client(timeout=30)
        with contextlib.suppress(paramiko.SSHException, EOFError):  # one too many is hung up on at its login
            opened.auth_publickey("paas", paramiko.Ed25519Key(filename=str(client.key)))
            opened.open_session(timeout=30).close()
        yield opened
    finally:
        opened.close()


def test_g1_connections_that_one_user_keeps_lock_nobody_out(
    daemon: GitDaemon, ann: Client, root: Path
) -> None:
    bob = Client(daemon, root / "bob", "bob")
    limit = Limits().connections_per_user
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(idle(daemon, ann)) for _ in range(limit)]
        for _ in range(3):
            more = stack.enter_context(idle(daemon, ann))
            wait_for(lambda more=more: not more.is_active())
        assert all(opened.is_active() for opened in kept)
        assert "no shell" in bob.ssh().stderr
    wait_for(lambda: "no shell" in ann.ssh().stderr)
