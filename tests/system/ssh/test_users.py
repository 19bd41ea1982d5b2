"""Connections of one user who has logged in: they leave room for everybody else."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
from harness.git import Client, GitDaemon, family
from harness.platform import wait_for

from paas.receive.limits import Limits


@contextlib.contextmanager
def idle(daemon: GitDaemon, client: Client) -> Iterator[paramiko.Transport]:
    """A connection that has logged in, used one channel, and stays."""
    opened = paramiko.Transport(("127.0.0.1", daemon.port))
    try:
        opened.start_client(timeout=30)
        with contextlib.suppress(
            paramiko.SSHException, EOFError, OSError
        ):  # one too many is hung up on at its login
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


def test_commands_that_one_user_keeps_waiting_are_few_and_cheap(
    daemon: GitDaemon, ann: Client, root: Path
) -> None:
    """A command that reads its input whole is no process of its own before the input has come."""
    bob, most = Client(daemon, root / "bob", "bob"), Limits().commands_per_user
    words = [*ann.ssh_words, "-p", str(daemon.port), "paas@127.0.0.1", "keys:add", "-"]
    waiting = [subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(most)]
    try:
        folder = daemon.layout.repos / "receiving"
        wait_for(lambda: len(list(folder.glob("*.commands/*"))) == most)
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family(daemon.process.pid)]
        assert len(commands) > most and not any(b"paas.ssh.typed" in command for command in commands)
        refused = ann.ssh("help")
        assert refused.returncode == 2
        assert f"{most} commands of yours run over ssh already." in refused.stderr
        assert bob.ssh("help").returncode == 0
    finally:
        for each in waiting:
            each.communicate(b"no key")
    wait_for(lambda: ann.ssh("help").returncode == 0)
