"""The messages between speaker and monitor: what one end packs the other reads, and nothing else."""

from __future__ import annotations

import os
import socket

import pytest

from paas.ssh import control
from paas.ssh.control import MAX_CELLS, MAX_COMMAND_BYTES, MAX_MESSAGE_BYTES, CommandRequest, SignedLogin

REQUESTS = [
    CommandRequest(None),
    CommandRequest(b""),
    CommandRequest(b"line\nline \xff\0", "xterm", 100, MAX_CELLS),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_command_arrives_as_it_was(request_: CommandRequest) -> None:
    assert CommandRequest.decode(request_.encode()) == request_


def test_a_command_that_is_far_too_long_is_cut_to_fit_a_message() -> None:
    data = CommandRequest(b"x" * MAX_MESSAGE_BYTES, "t" * 64, MAX_CELLS, MAX_CELLS).encode()
    assert len(control.pack(b"start", 10**9, data)) <= MAX_MESSAGE_BYTES
    assert len(CommandRequest.decode(data).command or b"") == MAX_COMMAND_BYTES


@pytest.mark.parametrize(
    "head", [b"", b"[]", b'[null, 0, 24, true]', b'[null, 80, 4097, true]', b'[null, "80", 24, true]', b"[7, 80, 24, true]"]
)  # fmt: skip
def test_a_command_that_no_speaker_encodes_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError):
        CommandRequest.decode(head + b"\nps")


def test_a_login_arrives_as_it_was() -> None:
    login = SignedLogin("paas", "ssh-ed25519", b"key\0\n", b"\xff signature")
    assert SignedLogin.decode(login.encode()) == login
    with pytest.raises((ValueError, IndexError)):
        SignedLogin.decode(login.encode()[:-1])


def test_messages_and_descriptors_cross_the_socket() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        reader, writer = os.pipe()
        socket.send_fds(near, [control.pack(b"answer", 7, b"a body\n")], [reader, writer])
        for descriptor in (reader, writer):
            os.close(descriptor)
        data, descriptors = control.receive(far)
        assert control.unpack(data) == (b"answer", 7, b"a body\n")
        os.write(descriptors[1], b"x")
        assert os.read(descriptors[0], 10) == b"x"
        for descriptor in descriptors:
            os.close(descriptor)
        near.close()
        assert control.receive(far) == (b"", [])
