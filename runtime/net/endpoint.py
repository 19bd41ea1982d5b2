"""An instance's end of its link, and the set-up inside the instance's namespace."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from runtime.net import links
from runtime.net.netlink import NETFILTER, Message, Netlink

INTERFACE = "eth0"
HOST_MAC = bytes.fromhex("020000000001")


@dataclass(frozen=True)
class Endpoint:
    """`link` is the interface on the host; `nameservers` belong into the instance's resolv.conf; `guard` is a batch."""

    instance_id: str
    link: str
    address: IPv4Address
    gateway: IPv4Address
    nameservers: tuple[IPv4Address, ...]
    guard: tuple[Message, ...]

    @property
    def mac(self) -> bytes:
        """A locally administered address that follows from the IP address, so that neighbours can be permanent."""
        return b"\x02\x00" + self.address.packed


def configure(endpoint: Endpoint | None) -> None:
    """Set up the network namespace of the caller: loopback; with an endpoint also the guard, the link and its routes.

    Call it as root in the new namespace, after the host has attached the link, while /proc is still a writable procfs.
    Raises NetlinkError.
    """
    net = Path("/proc/sys/net")
    for path in (net / "ipv6/conf/all/disable_ipv6", net / "ipv6/conf/default/disable_ipv6"):
        set_sysctl(path, 1)
    set_sysctl(net / "ipv4/ip_unprivileged_port_start", 0)
    with Netlink() as route:
        route.send(links.link_up(socket.if_nametoindex("lo")))
        if endpoint is None:
            return
        with Netlink(NETFILTER) as filters:
            filters.send(*endpoint.guard)
        index = socket.if_nametoindex(INTERFACE)
        route.send(
            links.new_address(index, endpoint.address),
            links.link_up(index, arp=False),
            links.new_neighbour(index, endpoint.gateway, HOST_MAC),
            links.new_route(index, IPv4Network(endpoint.gateway)),
            links.new_route(index, None, gateway=endpoint.gateway),
        )


def set_sysctl(path: Path, value: int) -> None:
    """Write a kernel setting; does nothing if this kernel lacks it (a kernel without IPv6)."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"%d\n" % value)
        finally:
            os.close(descriptor)
