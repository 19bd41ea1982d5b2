"""The speaker's requests to its monitor, in a process of its own, as it ends with the monitor."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from paas.ssh import control
from paas.ssh.control import CommandRequest, SignedLogin
from paas.ssh.monitor_client import MonitorClient
from runtime.kernel import forked


def speaker(work: Callable[[MonitorClient], bool]) -> tuple[socket.socket, int]:
    """A process that does `work` as a client of its monitor and ends with 0 if that was true; the monitor's end, and its id."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.settimeout(20)

    def child() -> int:
        near.close()
        return 0 if work(MonitorClient(far)) else 3

    pid = forked.fork("speaker", child)
    far.close()
    return near, pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def asked(monitor: socket.socket) -> tuple[bytes, int, bytes]:
    return control.unpack(control.receive(monitor)[0])


def test_each_question_has_its_verb_and_gets_its_own_answer() -> None:
    login = SignedLogin("paas", "ssh-ed25519", b"key", b"signature")

    def work(client: MonitorClient) -> bool:
        return (client.sign(b"hash"), client.offer(b"key"), client.offer(b"other"), client.prove(login)) == (
            b"signed",
            True,
            False,
            True,
        )

    monitor, pid = speaker(work)
    with monitor:
        seen = []
        for answer in (b"signed", control.YES, control.NO, control.YES):
            verb, number, body = asked(monitor)
            seen.append((verb, body))
            monitor.send(control.pack(b"answer", number, answer))
        assert seen == [
            (b"sign", b"hash"),
            (b"offer", b"key"),
            (b"offer", b"other"),
            (b"prove", login.encode()),
        ]
        assert status_of(pid) == 0


def test_a_command_brings_its_streams_and_ends_with_its_status() -> None:
    request = CommandRequest(b"ps")

    def work(client: MonitorClient) -> bool:
        number, streams = client.start(request)
        os.write(streams[0], b"to the command")
        client.hangup(number)
        return len(streams) == 1 and client.wait(number) == 7

    monitor, pid = speaker(work)
    with monitor:
        verb, number, body = asked(monitor)
        assert (verb, CommandRequest.decode(body)) == (b"start", request)
        reader, writer = os.pipe()
        socket.send_fds(monitor, [control.pack(b"answer", number)], [writer])
        os.close(writer)
        assert os.read(reader, 100) == b"to the command"
        os.close(reader)
        assert asked(monitor) == (b"hangup", number, b"")
        monitor.send(control.pack(b"exit", number, b"7"))
        assert status_of(pid) == 0


def test_an_exit_that_comes_before_the_wait_is_kept() -> None:
    def work(client: MonitorClient) -> bool:
        first, second = client.start(CommandRequest(b"a"))[0], client.start(CommandRequest(b"b"))[0]
        return (client.wait(second), client.wait(first)) == (2, 1)

    monitor, pid = speaker(work)
    with monitor:
        for status in (b"1", b"2"):
            _, number, _ = asked(monitor)
            monitor.send(control.pack(b"answer", number))
            monitor.send(control.pack(b"exit", number, status))
        assert status_of(pid) == 0


def test_it_does_not_outlive_its_monitor() -> None:
    monitor, pid = speaker(lambda client: bool(client.sign(b"hash")))
    assert asked(monitor)[0] == b"sign"
    monitor.close()
    assert status_of(pid) == 1
