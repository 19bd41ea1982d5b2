"""Links, addresses, routes and neighbours: netlink messages that make them, and lists of those that exist.

The first half is pure: it builds messages. Source: rtnetlink(7), linux/if_link.h.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from runtime.net.netlink import (
    F_CREATE,
    F_EXCL,
    F_REPLACE,
    Message,
    Netlink,
    attribute,
    attributes,
    nested,
    text,
    u32,
)

NEWLINK, DELLINK, GETLINK, NEWADDR, GETADDR, NEWROUTE, GETROUTE, NEWNEIGH = 16, 17, 18, 20, 22, 24, 26, 28

_IFF_UP, _IFF_NOARP = 0x1, 0x80
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = 1, 3, 4, 18, 20, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_TABLE_MAIN, _TABLE_LOCAL, _PROTO_STATIC, _UNICAST = 254, 255, 4, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_GONE = frozenset({errno.ENODEV, errno.ENOENT})


@dataclass(frozen=True)
class Link:
    """An interface of this namespace. `alias` is free text: here the id of its instance."""

    index: int
    name: str
    alias: str
    mtu: int


@dataclass(frozen=True)
class Route:
    """An IPv4 route of any table; `oif` is 0 where it leads to no interface."""

    destination: IPv4Network
    oif: int
    table: int


def new_veth(name: str, mac: bytes, *, peer: str, peer_mac: bytes, netns: int, mtu: int) -> Message:
    """A pair of interfaces: `name` here, `peer` in the namespace of descriptor `netns`; both still down."""
    inner = text(_IFLA_IFNAME, peer) + attribute(_IFLA_ADDRESS, peer_mac) + u32(_IFLA_MTU, mtu)
    other = _link(0) + inner + u32(_IFLA_NET_NS_FD, netns)
    info = nested(_IFLA_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_PEER, other)))
    own = text(_IFLA_IFNAME, name) + attribute(_IFLA_ADDRESS, mac) + u32(_IFLA_MTU, mtu)
    return Message(NEWLINK, _link(0) + own + info, F_CREATE | F_EXCL, name=f"new veth {name}")


def link_up(index: int, *, arp: bool = True, alias: str = "") -> Message:
    """Bring an interface up; without `arp` it neither asks nor answers. The kernel takes an alias only here."""
    flags = _IFF_UP if arp else _IFF_UP | _IFF_NOARP
    parts = text(_IFLA_IFALIAS, alias) if alias else b""
    return Message(NEWLINK, _link(index, flags) + parts, name="link up")


def del_link(name: str) -> Message:
    """Remove an interface and its peer; does nothing if it is gone."""
    return Message(DELLINK, _link(0) + text(_IFLA_IFNAME, name), ignore=_GONE, name=f"delete link {name}")


def new_address(index: int, address: IPv4Address) -> Message:
    """The address alone, as a /32."""
    payload = struct.pack("=BBBBi", socket.AF_INET, 32, 0, 0, index)
    payload += attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    return Message(NEWADDR, payload, F_CREATE | F_REPLACE, name=f"new address {address}")


def new_route(
    index: int,
    destination: IPv4Network | None,
    *,
    gateway: IPv4Address | None = None,
    source: IPv4Address | None = None,
) -> Message:
    """A route in the main table: to `destination` (None: everything) over the interface, directly or by a gateway."""
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    prefix = destination.prefixlen if destination else 0
    head = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, prefix, 0, 0, _TABLE_MAIN, _PROTO_STATIC, scope, _UNICAST, 0
    )
    parts = u32(_RTA_OIF, index)
    if destination:
        parts += attribute(_RTA_DST, destination.network_address.packed)
    if gateway:
        parts += attribute(_RTA_GATEWAY, gateway.packed)
    if source:
        parts += attribute(_RTA_PREFSRC, source.packed)
    return Message(NEWROUTE, head + parts, F_CREATE | F_REPLACE, name=f"new route {destination or 'default'}")


def new_neighbour(index: int, address: IPv4Address, mac: bytes) -> Message:
    """A permanent neighbour: no ARP request is sent, and no other host can answer one."""
    head = struct.pack("=BxxxiHBB", socket.AF_INET, index, _NUD_PERMANENT, 0, 0)
    parts = attribute(_NDA_DST, address.packed) + attribute(_NDA_LLADDR, mac)
    return Message(NEWNEIGH, head + parts, F_CREATE | F_REPLACE, name=f"new neighbour {address}")


def links(netlink: Netlink) -> list[Link]:
    """Every interface of the namespace."""
    found = []
    for answer in netlink.dump(Message(GETLINK, _link(0), name="list links")):
        index = struct.unpack_from("=i", answer, 4)[0]
        parts = attributes(answer[16:])
        (mtu,) = struct.unpack("=I", parts.get(_IFLA_MTU, bytes(4)))
        found.append(Link(index, _word(parts.get(_IFLA_IFNAME)), _word(parts.get(_IFLA_IFALIAS)), mtu))
    return found


def addresses(netlink: Netlink) -> list[IPv4Address]:
    """Every IPv4 address of the namespace."""
    head = struct.pack("=BBBBi", socket.AF_INET, 0, 0, 0, 0)
    found = []
    for answer in netlink.dump(Message(GETADDR, head, name="list addresses")):
        parts = attributes(answer[8:])
        local = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS)
        if local:
            found.append(IPv4Address(local))
    return found


def routes(netlink: Netlink) -> list[Route]:
    """Every IPv4 route of every table but the kernel's own local one."""
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    found = []
    for answer in netlink.dump(Message(GETROUTE, head, name="list routes")):
        prefix, table = answer[1], answer[4]
        parts = attributes(answer[12:])
        if _RTA_TABLE in parts:
            (table,) = struct.unpack("=I", parts[_RTA_TABLE])
        if table == _TABLE_LOCAL:
            continue
        base = ipaddress.IPv4Address(parts.get(_RTA_DST, bytes(4)))
        (oif,) = struct.unpack("=I", parts.get(_RTA_OIF, bytes(4)))
        found.append(Route(IPv4Network((base, prefix), strict=False), oif, table))
    return found


def _link(index: int, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _word(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode("ascii", "replace")
