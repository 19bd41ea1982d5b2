"""The private members of paramiko that the hardened transport overrides or calls: a release that changes them fails here."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable
from typing import Any

import pytest
from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import MSG_CHANNEL_REQUEST
from paramiko.packet import Packetizer
from paramiko.ssh_exception import SSHException
from paramiko.transport import ChannelMap, Transport

from paas.ssh.paramiko_transport import (
    MAX_BANNER_BYTES,
    MAX_PACKET_BYTES,
    VERSION,
    BoundedPacketizer,
    HardenedTransport,
    KeyAuth,
    OfferedKey,
)

MEMBERS: list[tuple[Callable[..., Any], list[str]]] = [
    (Packetizer.read_all, ["self", "n", "check_rekey"]),
    (vars(Packetizer)["_read_timeout"], ["self", "timeout"]),
    (Packetizer.write_all, ["self", "out"]),
    (vars(AuthHandler)["_generate_key_from_request"], ["self", "algorithm", "keyblob"]),
    (vars(Transport)["_parse_newkeys"], ["self", "m"]),
    (vars(Channel)["_handle_request"], ["self", "m"]),
    (OfferedKey.verify_ssh_sig, ["self", "data", "msg"]),
]
TUPLES = [
    "_preferred_ciphers", "_preferred_macs", "_preferred_keys", "_preferred_pubkeys", "_preferred_kex", "_preferred_compression",
]  # fmt: skip


@pytest.mark.parametrize(("member", "parameters"), MEMBERS, ids=lambda value: getattr(value, "__name__", ""))
def test_members_have_the_parameters_that_are_overridden(
    member: Callable[..., Any], parameters: list[str]
) -> None:
    assert list(inspect.signature(member).parameters) == parameters


def test_tables_of_the_transport_have_the_shape_that_is_replaced() -> None:
    stock = vars(Transport)
    assert stock["_channel_handler_table"][MSG_CHANNEL_REQUEST] is vars(Channel)["_handle_request"]
    assert inspect.isclass(stock["_kex_info"]["curve25519-sha256@libssh.org"])
    assert all(isinstance(stock[name], tuple) for name in TUPLES)
    assert isinstance(stock["_active_check_timeout"], float)
    assert set(vars(HardenedTransport)["_preferred_ciphers"]) <= set(stock["_cipher_info"])
    assert set(vars(HardenedTransport)["_preferred_macs"]) <= set(stock["_mac_info"])
    assert "__len__" in vars(ChannelMap)


def transport(sock: socket.socket) -> HardenedTransport:
    return HardenedTransport(sock, monitor=None, after_request=lambda channel: None)  # type: ignore[arg-type]


def test_a_transport_is_made_of_the_hardened_parts() -> None:
    near, far = socket.socketpair()
    with near, far:
        made = transport(near)
        assert isinstance(vars(made)["packetizer"], BoundedPacketizer)
        assert made.open_channels() == 0
        assert made.local_version == VERSION and made.auth_handler is None
        made.close()
    source = inspect.getsource(vars(Transport)["_parse_newkeys"])
    assert "self.auth_handler is None" in source, "paramiko keeps the handler that is there"
    assert "auth_username" in vars(KeyAuth(made))


def test_a_packet_and_a_version_line_without_end_are_refused() -> None:
    near, far = socket.socketpair()
    with near, far:
        packets = BoundedPacketizer(near)
        for size in (-1, MAX_PACKET_BYTES + 1):
            with pytest.raises(SSHException, match="A packet of"):
                packets.read_all(size)
        far.sendall(b"x" * (MAX_BANNER_BYTES + 128))
        with pytest.raises(SSHException, match="No end of the version line"):
            packets.readline(10)


def test_the_first_thing_written_was_sent_already() -> None:
    near, far = socket.socketpair()
    with near, far:
        packets = BoundedPacketizer(near)
        for data in (b"SSH-2.0-paas\r\n", b"packet"):
            packets.write_all(data)
        assert far.recv(100) == b"packet"


def test_a_key_of_an_unknown_kind_is_refused_without_a_question() -> None:
    """There is no monitor to ask: the answer must not need one."""
    key = OfferedKey("paas", "ssh-dss", b"blob", None)  # type: ignore[arg-type]
    assert not key.is_known() and key.asbytes() == b"blob"
    assert not OfferedKey("root", "ssh-ed25519", b"", None).is_known()  # type: ignore[arg-type]
    assert key.get_name() == "ssh-dss"
