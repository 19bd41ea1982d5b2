"""Rules as text, addresses, name servers: what needs no kernel."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

import pytest

from runtime.net import resolvers, rules
from runtime.net.netlink import attribute, attributes, nested, text
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


def test_the_ruleset_names_only_this_platform() -> None:
    text = rules.ruleset(
        "abcdef",
        "pabcdef-",
        IPv4Network("10.192.0.0/20"),
        nameservers=[IPv4Address("192.0.2.53")],
        allow=[(IPv4Address("10.192.0.2"), IPv4Address("10.192.0.3"), 5432)],
    )
    assert text.startswith("table inet paas_abcdef\ndelete table inet paas_abcdef\n")
    assert "elements = { 10.192.0.2 . 10.192.0.3 . 5432 }" in text
    assert text.index("@nameservers meta") < text.index("169.254.0.0/16")


def test_loopback_and_ipv6_name_servers_are_not_given_to_instances(tmp_path: Path) -> None:
    stub, real = tmp_path / "resolv.conf", tmp_path / "systemd.conf"
    stub.write_text("nameserver 127.0.0.53\nnameserver fe80::1%eth0\noptions edns0\nsearch corp\n")
    assert resolvers.upstream((stub, real)) == []
    assert resolvers.local((stub, real)) == [ip_address("127.0.0.53"), ip_address("fe80::1")]
    real.write_text("# comment\nnameserver 192.0.2.1\nnameserver x\nnameserver 192.0.2.2\n")
    assert resolvers.upstream((stub, real)) == [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")]
    assert Network("abcdef", IPv4Network("10.192.0.0/20"), nameservers=()).needs_relay


def test_netlink_attributes_round_trip() -> None:
    data = text(3, "eth0") + attribute(1, b"\1\2\3") + nested(18, text(1, "veth"))
    found = attributes(data)
    assert found[3] == b"eth0\0"
    assert found[1] == b"\1\2\3"
    assert attributes(found[18]) == {1: b"veth\0"}
    assert attributes(b"\0\0\0\0garbage") == {}
