"""Which addresses may be reached for a tenant."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address, ip_network

import pytest

from runtime.image.errors import RegistryError
from runtime.image.reach import Patience, Reach, connect

LOOPBACK = Reach([ip_network("127.0.0.0/8")])


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1",
        "fec0::1", "3fff::1",
    ],
)  # fmt: skip
def test_what_is_not_the_internet_is_out_of_reach(text: str) -> None:
    assert not Reach().allows(ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "2606:4700::1111"])
def test_the_internet_and_what_the_operator_names_are_within_reach(text: str) -> None:
    assert Reach().allows(ip_address(text)) and not Reach().is_private(ip_address(text))
    assert LOOPBACK.allows(ip_address("127.9.9.9"))


def patience() -> Patience:
    return Patience(time.monotonic() + 20)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::ffff:127.0.0.1", "0"])
def test_no_way_of_writing_it_leads_to_the_machine_itself(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        with pytest.raises(RegistryError, match=r"address of the machine|not known"):
            connect(Reach(), patience(), host, server.getsockname()[1], plain=True)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_public_address_of_the_machine_itself_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback in its place: the kernel answers for both in the same way."""
    monkeypatch.setattr(Reach, "allows", lambda self, address: True)
    with pytest.raises(RegistryError, match="address of the machine"):
        connect(Reach(), patience(), "127.0.0.1", 9, plain=True)


def test_without_tls_only_what_the_operator_names_is_spoken_to() -> None:
    with pytest.raises(RegistryError, match="over TLS only"):
        connect(Reach(), patience(), "1.1.1.1", 80, plain=True)


def test_a_peer_that_says_a_byte_now_and_then_is_left_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        waiting = Patience(time.monotonic() + 1.5)
        with connect(LOOPBACK, waiting, "127.0.0.1", server.getsockname()[1], plain=True) as stream:
            peer, _ = server.accept()
            with peer, stream.makefile("rb") as reading:
                peer.sendall(b"x")
                assert reading.read1(1) == b"x"
                with pytest.raises((TimeoutError, RegistryError)):
                    reading.read(1)
                with pytest.raises(RegistryError, match="too long"):
                    reading.read(1)


def test_a_cancelled_transfer_waits_for_nothing() -> None:
    with pytest.raises(RegistryError, match="cancelled"):
        Patience(time.monotonic() + 60, lambda: True).left()
