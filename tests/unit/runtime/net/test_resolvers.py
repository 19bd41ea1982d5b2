"""Which of the host's name servers instances can use."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

from runtime.net import resolvers
from runtime.net.network import Network


def test_loopback_and_ipv6_name_servers_are_not_given_to_instances(tmp_path: Path) -> None:
    stub, real = tmp_path / "resolv.conf", tmp_path / "systemd.conf"
    stub.write_text("nameserver 127.0.0.53\nnameserver fe80::1%eth0\noptions edns0\nsearch corp\n")
    assert resolvers.upstream((stub, real)) == []
    assert resolvers.local((stub, real)) == [ip_address("127.0.0.53"), ip_address("fe80::1")]
    real.write_text("# comment\nnameserver 192.0.2.1\nnameserver x\nnameserver 192.0.2.2\n")
    assert resolvers.upstream((stub, real)) == [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")]
    assert Network("abcdef", IPv4Network("10.192.0.0/20"), nameservers=()).needs_relay
