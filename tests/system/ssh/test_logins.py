"""The SSH front against strangers and the curious: logins, requests of a connection, commands.

The numbers are those of the threat table: G2 logins and requests, G3 commands.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from harness.git import Client, GitDaemon, family, runs


@pytest.fixture
def ann(daemon: GitDaemon, root: Path) -> Client:
    """With a key of her own in each test: some leave files beside it."""
    client = Client(daemon, root / "ann", "ann")
    client.start_tree()
    return client


@contextlib.contextmanager
def transport(daemon: GitDaemon, client: Client | None) -> Iterator[paramiko.Transport]:
    """A client's end without ssh's manners; logged in when there is a client."""
    opened = paramiko.Transport(("127.0.0.1", daemon.port))
    try:
        opened.start_client(timeout=20)
        if client is not None:
            opened.auth_publickey("paas", paramiko.Ed25519Key(filename=str(client.key)))
        yield opened
    finally:
        opened.close()


def asked(opened: paramiko.Transport, command: bytes) -> tuple[int, str]:
    """Run a command; its exit status and everything it said."""
    channel = opened.open_session(timeout=20)
    channel.set_combine_stderr(True)
    channel.exec_command(command)
    channel.shutdown_write()
    said = b""
    while part := channel.recv(65536):
        said += part
    return channel.recv_exit_status(), said.decode()


def test_no_command_gets_a_greeting_with_the_name(daemon: GitDaemon, ann: Client) -> None:
    done = ann.ssh()
    assert done.returncode == 0
    assert "Hello ann!" in done.stderr and "git push" in done.stderr


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_kinds_of_keys(daemon: GitDaemon, root: Path, kind: str) -> None:
    assert Client(daemon, root / "bob", "bob", kind).ssh().returncode == 0


def test_user_name_git_is_accepted_too_and_no_other(daemon: GitDaemon, ann: Client) -> None:
    assert ann.ssh(options=("-l", "git")).returncode == 0
    assert ann.ssh(options=("-l", "root")).returncode == 255


def test_host_key_is_private_and_stays(daemon: GitDaemon, ann: Client) -> None:
    assert ann.ssh().returncode == 0
    key = daemon.layout.secrets / "ssh" / "host_ed25519"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    daemon.restart()
    assert ann.ssh(options=("-o", "StrictHostKeyChecking=yes")).returncode == 0
    assert key.read_bytes() == before


def test_g2_only_modern_algorithms_are_offered(daemon: GitDaemon, ann: Client) -> None:
    done = ann.ssh(options=("-vv", "-o", "LogLevel=DEBUG2"))
    offer = done.stderr.split("peer server KEXINIT proposal")[1].split("debug2: first_kex_follows")[0]
    words = {word for line in offer.splitlines()[1:] for word in line.split(": ")[-1].split(",")}
    assert words <= {
        "mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org", "kex-strict-s-v00@openssh.com",
        "ssh-ed25519", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes128-ctr",
        "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "none", "",
    }  # fmt: skip


def test_g2_no_login_but_with_a_key(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, None) as opened:
        with pytest.raises(paramiko.BadAuthenticationType) as refusal:
            opened.auth_none("paas")
        assert refusal.value.allowed_types == ["publickey"]
    with transport(daemon, None) as opened, pytest.raises(paramiko.AuthenticationException):
        opened.auth_password("paas", "paas")
    with transport(daemon, None) as opened, pytest.raises(paramiko.SSHException):
        opened.auth_interactive("paas", lambda title, instructions, prompts: [""])


def test_g2_nothing_before_login(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, None) as opened, pytest.raises((paramiko.ChannelException, paramiko.SSHException)):
        opened.open_session(timeout=10)


def test_g2_key_of_an_unknown_kind_does_not_end_the_login(daemon: GitDaemon, ann: Client) -> None:
    """An agent's first key may be a hardware key; here it is a certificate, which is refused, then the key."""
    authority = ann.folder / "authority"
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(authority)]
    subprocess.run(keygen, check=True)
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "ann", "-n", "paas", f"{ann.key}.pub"]
    subprocess.run(sign, check=True)
    done = ann.ssh(options=("-v", "-o", "LogLevel=DEBUG"))
    assert "Offering public key: " in done.stderr and "ED25519-CERT" in done.stderr
    assert done.returncode == 0, done.stderr


def test_g2_key_that_was_only_asked_about_lends_no_name(daemon: GitDaemon, ann: Client, root: Path) -> None:
    """A client may ask whether Bob's public key would do, and then sign with Ann's."""
    bob = Client(daemon, root / "bob", "bob")
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "nobody knows", "-f", str(bob.key)], check=True)
    done = bob.ssh(options=("-v", "-o", "LogLevel=DEBUG", "-i", str(ann.key)))
    assert done.stderr.count("Offering public key: ") == 2, done.stderr
    assert "Hello ann!" in done.stderr


def test_g2_signature_of_another_key(daemon: GitDaemon, ann: Client, root: Path) -> None:
    """Ann's public key, signed for by somebody else."""

    class Forged(paramiko.Ed25519Key):
        def asbytes(self) -> bytes:
            return real.asbytes()

    real = paramiko.Ed25519Key(filename=str(ann.key))
    thief = Client(daemon, root / "thief", None)
    with transport(daemon, None) as opened, pytest.raises(paramiko.AuthenticationException):
        opened.auth_publickey("paas", Forged(filename=str(thief.key)))


def test_g2_forwarding_and_subsystems_are_refused(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, ann) as opened:
        for kind in ("direct-tcpip", "forwarded-tcpip", "x11", "auth-agent@openssh.com", "tun@openssh.com"):
            with pytest.raises(paramiko.ChannelException):
                opened.open_channel(kind, ("127.0.0.1", 22), ("127.0.0.1", 22), timeout=10)
        with pytest.raises(paramiko.SSHException):
            opened.request_port_forward("127.0.0.1", 0)
        for ask in (
            lambda channel: channel.invoke_subsystem("sftp"),
            lambda channel: channel.request_x11(),
        ):
            with pytest.raises(paramiko.SSHException):
                ask(opened.open_session(timeout=10))
                pytest.fail("granted")


def test_g2_second_command_on_one_channel_is_refused(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, ann) as opened:
        channel = opened.open_session(timeout=10)
        channel.exec_command("help")
        with pytest.raises(paramiko.SSHException):
            channel.exec_command("help")


def test_keys_are_exchanged_again_during_a_push(daemon: GitDaemon, ann: Client) -> None:
    """Each exchange is signed beside the process that speaks."""
    (ann.tree / "much").write_bytes(os.urandom(1 << 20))
    ann.commit("much")
    often = " ".join(["ssh", "-o", "LogLevel=DEBUG", "-o", "RekeyLimit=128K", *ann.ssh_words[1:]])
    environ = {**ann.environ(), "GIT_SSH_COMMAND": often}
    push = ["git", "push", "paas", "main"]
    done = subprocess.run(push, cwd=ann.tree, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr.count("SSH2_MSG_NEWKEYS received") > 4, done.stderr


def test_several_channels_of_one_connection(daemon: GitDaemon, ann: Client) -> None:
    """A client that shares connections (ControlMaster) runs command after command on one."""
    with transport(daemon, ann) as opened:
        for _ in range(12):
            assert "no shell" in _shell(opened)
        held = [opened.open_session(timeout=10) for _ in range(8)]
        with pytest.raises(paramiko.ChannelException):
            opened.open_session(timeout=10)
        for channel in held:
            channel.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(paramiko.ChannelException):
                assert "no shell" in _shell(opened)
                return
        pytest.fail("closed channels still count")


def _shell(opened: paramiko.Transport) -> str:
    channel = opened.open_session(timeout=10)
    channel.set_combine_stderr(True)
    channel.invoke_shell()
    said = b""
    while part := channel.recv(65536):
        said += part
    return said.decode()


NO_COMMANDS = [
    b"git-receive-pack 'a'; id", b"git-receive-pack 'a' 'b'", b"git-receive-pack --upload-pack=id 'a'", b"git-receive-pack -x",
    b"git-receive-pack '../b'", b"git-receive-pack '/etc'/passwd", b"git-receive-pack '~'", b"git-receive-pack 'a\0b'",
    b"git-receive-pack $(id)", b"git-receive-pack `id`", b"git-receive-pack 'a' && id", b"git-receive-pack\t'a'", b"git-receive-pack  'a'",
    b"git-receive-pack ''", b"git-receive-pack", b"git-receive-pack '" + b"a" * 65536 + b"'", "git-receive-pack 'hällo'".encode(),
    b"git-receive-pack \xff", b"git-receive-pack 'a'\n", b" git-receive-pack 'a'", b"git-receive-pack \"a\"", b"git-receive-pack 'A'",
    b"git-receive-pack '//a'", b"git-receive-pack 'a.git.git'", b"git-receive-pack 'a/'", b"git-receive-pack '-a'", b"git-receive-pack 'a'\\''b'",
    b"git-upload-archive 'a'", b"git-shell -c id", b"git shell", b"git -c core.pager=id help", b"git", b"git-lfs-authenticate a download",
    b"git upload-archive 'a'", b"git-upload-pack --advertise-refs 'a'", b"git-http-backend",
    b"sh -c id", b"/bin/sh", b"id; id", b"$(id)", b"`id`", b"-c id", b"--help; id", b"'", b"\"", b"\\", b"", b" ", b"\n", b"\0", b"\xff\xfe",
    b"sftp-server", b"scp -t /tmp", b"rsync --server . /", b"../bin/sh", b"~/x", b"PATH=/ id", b"server --home /tmp", b"login http://x",
    b"server:status", b"doctor", b"demo", b"paas server", b"A" * 200_000, b"ps\0-a", b"|id", b"> /tmp/x", b"& id", b"ID", b"help -x\xff",
]  # fmt: skip


def test_g3_only_the_exact_forms_are_commands(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, ann) as opened:
        for command in NO_COMMANDS:
            status, said = asked(opened, command)
            assert status != 0, (command[:80], said)
            assert " !     " in said, (command[:80], said)
            assert "uid=" not in said and "Traceback" not in said, (command[:80], said)
    assert daemon.platform.apps == {} and daemon.platform.pushes == []
    assert "Traceback" not in daemon.log()


GIT_FORMS = [
    b"git-receive-pack 'hello'", b"git-receive-pack '/hello.git'", b"git receive-pack hello", b"git-receive-pack /hello",
]  # fmt: skip


@pytest.mark.parametrize("command", GIT_FORMS, ids=ascii)
def test_g3_git_forms(daemon: GitDaemon, ann: Client, command: bytes) -> None:
    with transport(daemon, ann) as opened:
        assert "report-status" in asked(opened, command)[1]


def test_commands_of_the_cli_run_without_a_shell(daemon: GitDaemon, ann: Client) -> None:
    done = ann.ssh("help")
    assert done.returncode == 0, done.stderr
    assert "config:set" in done.stdout
    done = ann.ssh("paas", "help", "';'", "id")
    assert "uid=" not in done.stdout + done.stderr
    done = ann.ssh("no-such-command")
    assert done.returncode == 127, done.stderr


def test_terminal_is_given_when_asked_for(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, ann) as opened:
        channel = opened.open_session(timeout=10)
        channel.get_pty("xterm", width=132, height=50)
        channel.exec_command(b"help")
        said = b""
        while part := channel.recv(65536):
            said += part
        assert channel.recv_exit_status() == 0
    assert b"config:set" in said and b"\r\n" in said


def test_end_of_the_daemon_ends_its_connections(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, ann) as opened:
        children = family(daemon.process.pid)[1:]
        assert children
        daemon.restart()
        deadline = time.monotonic() + 10
        while opened.is_active() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not opened.is_active()
        while any(runs(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in children if runs(pid)]
