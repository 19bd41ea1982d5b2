"""The SSH front against strangers and the curious: who gets in, what may be asked, what a flood does.

The numbers are those of the threat table: G1 floods, G2 logins and requests, G3 commands.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from harness.git import Client, GitDaemon


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


# floods


def open_from(source: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.bind((source, 0))
    sock.settimeout(10)
    sock.connect(("127.0.0.1", port))
    return sock


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def descendants(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
    found: list[int] = []
    for child in sorted(parents):
        above = child
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and child != pid:
            found.append(child)
    return found


@pytest.fixture
def idle(daemon: GitDaemon) -> GitDaemon:
    """The daemon without any connection."""
    deadline = time.monotonic() + 60
    while descendants(daemon.process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert descendants(daemon.process.pid) == []
    return daemon


def test_g1_silent_connections_cost_no_process_and_lock_nobody_out(idle: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    before = idle.memory_bytes()
    held = [open_from(f"127.0.{number % 40 + 1}.9", idle.port) for number in range(600)]
    assert ann.ssh().returncode == 0
    assert len(descendants(idle.process.pid)) <= 3
    assert threads(idle.process.pid) == 1
    assert idle.memory_bytes() < before + (8 << 20)
    for sock in held:
        sock.close()


def test_g1_half_a_handshake_from_many_sources_is_bounded(idle: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    held = []
    for number in range(120):
        sock = open_from(f"127.0.1.{number % 20 + 1}", idle.port)
        sock.send(b"SSH-2.0-slow\r\n")
        held.append(sock)
    ann.commit("second")
    assert ann.push().returncode == 0, idle.log()
    assert len(descendants(idle.process.pid)) <= 2 * 16 + 4
    for sock in held:
        sock.close()


def test_g1_flood_from_one_source_leaves_room_for_others(idle: GitDaemon, ann: Client) -> None:
    assert ann.ssh().returncode == 0
    held = []
    for _ in range(200):
        sock = open_from("127.0.0.7", idle.port)
        with contextlib.suppress(OSError):
            sock.send(b"SSH-2.0-slow\r\n")
        held.append(sock)
    started = descendants(idle.process.pid)
    assert len(started) <= 2 * 8 + 2
    assert ann.ssh().returncode == 0
    for sock in held:
        sock.close()


def test_g1_burst_of_logins_from_one_place_is_served(daemon: GitDaemon, ann: Client) -> None:
    """A build server with many jobs: they wait for each other, none is turned away."""
    command = [*ann.ssh_words, "-p", str(daemon.port), "paas@127.0.0.1"]
    ann.ssh()
    burst = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(30)]
    assert [each.communicate(timeout=60)[1].startswith(b"Hello ann!") for each in burst] == [True] * 30


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 4096,
        b"SSH-1.5-old\r\n",
        b"SSH-2.0-" + b"x" * 8192,
        b"SSH-2.0-x\r\n" + struct.pack(">I", 300 << 20) + bytes(1 << 20),
        b"SSH-2.0-x\r\n" + struct.pack(">I", 0) + bytes(4096),
        b"SSH-2.0-x\r\n" + b"\xff" * 65536,
    ],
    ids=lambda data: ascii(data[:16]),
)
def test_g1_what_is_not_ssh_is_hung_up_on(daemon: GitDaemon, ann: Client, data: bytes) -> None:
    assert ann.ssh().returncode == 0
    before = daemon.memory_bytes()
    sock = open_from("127.0.0.1", daemon.port)
    with contextlib.suppress(OSError):
        sock.sendall(data)
        while sock.recv(65536):
            pass
    sock.close()
    assert daemon.memory_bytes() < before + (4 << 20)
    assert ann.ssh().returncode == 0
    assert "Traceback" not in daemon.log() and "Exception" not in daemon.log()


def test_g1_version_line_byte_by_byte_is_read_to_its_end(daemon: GitDaemon, ann: Client) -> None:
    """And does not make the accept loop spin meanwhile."""
    sock = open_from("127.0.0.1", daemon.port)
    assert sock.recv(64).startswith(b"SSH-2.0-")
    used = _cpu_ticks(daemon.process.pid)
    for byte in b"SSH-2.0-slow\r\n":
        sock.send(bytes([byte]))
        time.sleep(0.05)
    assert len(sock.recv(65536)) > 100, "the key exchange begins"
    assert _cpu_ticks(daemon.process.pid) - used < 20
    sock.close()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_end_of_the_daemon_ends_its_connections(daemon: GitDaemon, ann: Client) -> None:
    with transport(daemon, ann) as opened:
        children = descendants(daemon.process.pid)
        assert children
        daemon.restart()
        deadline = time.monotonic() + 10
        while opened.is_active() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not opened.is_active()
        while any(_runs(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in children if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.long
def test_g1_people_push_on_during_a_flood(daemon: GitDaemon, ann: Client) -> None:
    """Half a minute of connections that greet and stall, from many places, again and again."""
    assert ann.push().returncode == 0
    over = threading.Event()
    opened = []

    def flood(place: int) -> None:
        while not over.is_set():
            held = []
            for number in range(20):
                with contextlib.suppress(OSError):
                    sock = open_from(f"127.0.3.{place * 20 + number % 20 + 1}", daemon.port)
                    sock.send((b"", b"SSH-2.0-slow\r\n", b"SSH-2.0-x\r\n" + bytes(100))[number % 3])
                    held.append(sock)
            opened.append(len(held))
            over.wait(0.2)
            for sock in held:
                sock.close()

    places = [threading.Thread(target=flood, args=(place,)) for place in range(4)]
    for place in places:
        place.start()
    try:
        until = time.monotonic() + 30
        pushed = 0
        while time.monotonic() < until:
            ann.commit("more")
            assert ann.push().returncode == 0, daemon.log()
            pushed += 1
            assert len(descendants(daemon.process.pid)) <= 2 * 16 + 8
    finally:
        over.set()
        for place in places:
            place.join()
    assert pushed > 0 and sum(opened) > 100
    assert threads(daemon.process.pid) == 1
