"""Addresses and names of links, without a kernel."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from runtime.net.network import Network, NetworkError, parse_allow


def test_link_names_fit_the_kernel() -> None:
    network = Network("ffffff", IPv4Network("10.192.0.0/20"), nameservers=())
    assert len(network.link_name(network.network[-1])) <= 15


def test_addresses_are_reused_as_late_as_possible(tmp_path: Path) -> None:
    network = Network("abcdef", IPv4Network("10.192.0.0/28"), nameservers=(), state=tmp_path)
    first = network.allocate("i1").address
    assert first == network.network[2]
    network._addresses.clear()
    later = [network.allocate(f"j{n}").address for n in range(12)]
    assert later == [network.network[n] for n in range(3, 15)]
    assert network.allocate("i2").address == first


def test_an_adopted_address_is_not_given_away() -> None:
    network = Network("abcdef", IPv4Network("10.192.0.0/20"), nameservers=())
    network.adopt("i1", IPv4Address("10.192.0.2"))
    assert network.allocate("i2").address == IPv4Address("10.192.0.3")


@pytest.mark.parametrize(
    "element", ["10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "host:80", ":80", "1.2.3.4:+8"]
)
def test_bad_allow_elements_are_refused(element: str) -> None:
    with pytest.raises(NetworkError, match="ADDRESS:PORT"):
        parse_allow([element])


def test_instances_with_equal_rules_share_the_messages_of_their_guard() -> None:
    network = Network("abcdef", IPv4Network("10.192.0.0/20"), nameservers=())
    first, second = network.allocate("i1"), network.allocate("i2")
    assert first.guard is second.guard
    assert network.allocate("i3", ["10.9.9.9:5432"]).guard != first.guard
