"""The platform's network: a routed point-to-point link per instance, and the rules that say what it may reach.

There is no bridge: each instance has one address and sends everything to a gateway address that the host has on every
link. `Network` keeps the host's side; `endpoint.configure` sets up the instance's.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from runtime.net import forwarding, guard, links, resolvers, rules
from runtime.net.endpoint import HOST_MAC, INTERFACE, Endpoint, configure, set_sysctl
from runtime.net.guard import Guard
from runtime.net.netlink import NETFILTER, Netlink, NetlinkError
from runtime.net.rules import RulesError

__all__ = [
    "Endpoint",
    "NetlinkError",
    "Network",
    "NetworkError",
    "RulesError",
    "configure",
    "drain",
    "host_routes",
]

_NFTABLES_GROUP = 7
_CONF = Path("/proc/sys/net")


class NetworkError(Exception):
    """There is no address left, or an element of `allow` is malformed; the message says which."""


class Network:
    """Links, addresses and rules of one platform in the caller's network namespace.

    `network` is the platform's own block: its first host address is the gateway, the others are for instances.
    """

    def __init__(
        self,
        platform_id: str,
        network: IPv4Network,
        *,
        nameservers: tuple[IPv4Address, ...] | None = None,
        refused: tuple[IPv4Network, ...] = (),
        state: Path = forwarding.STATE,
    ) -> None:
        self.platform_id = platform_id
        self.network = network
        self.gateway = network[1]
        self.prefix = f"p{platform_id}-"
        self.nameservers = nameservers if nameservers is not None else tuple(resolvers.upstream())
        self._needs_relay = not self.nameservers
        if self._needs_relay:
            self.nameservers = (self.gateway,)
        self._refused = (*rules.REFUSED, network, *refused)
        self._state = state
        self._addresses: dict[str, IPv4Address] = {}
        self._allow: dict[str, tuple[tuple[IPv4Address, int], ...]] = {}
        self._host: tuple[IPv4Network, ...] = ()
        self._mtu = 1500
        self._last = 1
        self._shown: str | None = None

    @property
    def needs_relay(self) -> bool:
        """Whether instances cannot reach the host's name servers, so that a relay must answer on the gateway's address."""
        return self._needs_relay

    def prepare(self) -> None:
        """Turn forwarding on, set the rules, find the links that exist. Call it after every start.

        Raises RulesError or OSError.
        """
        forwarding.enable(self.platform_id, state=self._state)
        self._addresses = self.instances()
        self._refresh()
        self._apply()

    def allocate(self, instance_id: str, allow: Iterable[str] = ()) -> Endpoint:
        """Take an address for an instance. `allow` elements are `ADDRESS:PORT`. Raises NetworkError."""
        if instance_id in self._addresses:
            self.detach(instance_id)
        taken = set(self._addresses.values())
        size = self.network.num_addresses
        for step in range(size):
            offset = (self._last + step) % size + 1
            # reuse an address as late as possible: the router may still know its last owner
            if 2 <= offset < size - 1 and self.network[offset] not in taken:
                break
        else:
            raise NetworkError(f"all {size - 3} addresses of {self.network} are in use")
        self._last = offset
        allowed = parse_allow(allow)
        self._addresses[instance_id] = self.network[offset]
        self._allow[instance_id] = allowed
        return Endpoint(
            instance_id,
            self.link_name(self.network[offset]),
            self.network[offset],
            self.gateway,
            self.nameservers,
            guard.messages(Guard((*self._refused, *self._host), self.nameservers, allowed)),
        )

    def attach(self, endpoint: Endpoint, netns: int) -> None:
        """Make the link, its far end in the namespace of descriptor `netns`. Raises NetlinkError, RulesError."""
        with Netlink() as route:
            new = links.new_veth(
                endpoint.link,
                HOST_MAC,
                peer=INTERFACE,
                peer_mac=endpoint.mac,
                netns=netns,
                mtu=self._mtu,
            )
            route.send(links.del_link(endpoint.link))
            route.send(new)
            ipv4, ipv6 = _CONF / "ipv4/conf" / endpoint.link, _CONF / "ipv6/conf" / endpoint.link
            set_sysctl(ipv6 / "disable_ipv6", 1)
            for name, value in (("rp_filter", 1), ("accept_redirects", 0), ("send_redirects", 0)):
                set_sysctl(ipv4 / name, value)
            index = socket.if_nametoindex(endpoint.link)
            route.send(
                links.new_address(index, self.gateway),
                links.link_up(index, arp=False, alias=endpoint.instance_id),
                links.new_neighbour(index, endpoint.address, endpoint.mac),
                links.new_route(index, IPv4Network(endpoint.address), source=self.gateway),
            )
        if self._allow.get(endpoint.instance_id):
            self._apply()

    def adopt(self, instance_id: str, address: IPv4Address, allow: Iterable[str] = ()) -> None:
        """Register an instance that was started by a predecessor of this process, so that its address stays taken."""
        self._addresses[instance_id] = address
        self._allow[instance_id] = parse_allow(allow)

    def detach(self, instance_id: str) -> None:
        """Remove an instance's link and free its address; does nothing if it has none."""
        address = self._addresses.pop(instance_id, None)
        allowed = self._allow.pop(instance_id, ())
        if address is None:
            return
        with Netlink() as route:
            route.send(links.del_link(self.link_name(address)))
        if allowed:
            self._apply()

    def link_name(self, address: IPv4Address) -> str:
        return f"{self.prefix}{int(address) - int(self.network.network_address):x}"

    def reapply(self) -> bool:
        """Restore rules and forwarding if someone changed them; returns whether that was needed."""
        forwarding.enable(self.platform_id, state=self._state)
        self._refresh()
        if self._shown is not None and rules.show(self.platform_id) == self._shown:
            return False
        self._apply()
        return True

    def watch(self) -> Netlink:
        """A socket that becomes readable when anyone changes nftables rules: `drain` it, then `reapply`."""
        watch = Netlink(NETFILTER, group=_NFTABLES_GROUP)
        watch.socket.setblocking(False)
        return watch

    def teardown(self) -> None:
        """Remove every link and the table, give forwarding up. Call it when no instance is left."""
        with Netlink() as route:
            names = [link.name for link in links.links(route) if link.name.startswith(self.prefix)]
            for name in names:
                route.send(links.del_link(name))
        rules.remove(self.platform_id)
        forwarding.release(self.platform_id, state=self._state)
        self._addresses.clear()
        self._allow.clear()
        self._shown = None

    def instances(self) -> dict[str, IPv4Address]:
        """The instances that have a link in the kernel: for finding orphans."""
        found = {}
        with Netlink() as route:
            for link in links.links(route):
                if link.name.startswith(self.prefix):
                    offset = int(link.name.removeprefix(self.prefix), 16)
                    found[link.alias or link.name] = self.network[offset]
        return found

    def _refresh(self) -> None:
        """Read the host's addresses and the MTU of its default route, which may change at any time."""
        with Netlink() as route:
            own = {address for address in links.addresses(route) if not address.is_loopback}
            ways = {item.oif for item in links.routes(route) if item.destination.prefixlen == 0}
            mtus = [link.mtu for link in links.links(route) if link.index in ways]
        self._host = tuple(IPv4Network(address) for address in sorted(own - {self.gateway}))
        self._mtu = min(mtus, default=1500)

    def _apply(self) -> None:
        allow = [
            (self._addresses[name], target, port)
            for name, items in self._allow.items()
            for target, port in items
            if name in self._addresses
        ]
        text = rules.ruleset(
            self.platform_id, self.prefix, self.network, nameservers=self.nameservers, allow=allow
        )
        rules.apply(text)
        self._shown = rules.show(self.platform_id)


def host_routes() -> list[IPv4Network]:
    """Every network this namespace has a route to: a new block of addresses must not overlap them."""
    with Netlink() as route:
        return [item.destination for item in links.routes(route)]


def parse_allow(elements: Iterable[str]) -> tuple[tuple[IPv4Address, int], ...]:
    """Parse `ADDRESS:PORT` elements. Raises NetworkError if one is malformed."""
    found = []
    for element in elements:
        address, _, port = element.rpartition(":")
        try:
            number = int(port) if port.isascii() and port.isdigit() else 0
            if not 0 < number < 65536:
                raise ValueError(port)
            found.append((IPv4Address(address), number))
        except ValueError as error:
            raise NetworkError(f"not ADDRESS:PORT: {element!r}") from error
    return tuple(found)


def drain(watch: Netlink) -> None:
    """Discard the notices of a `Network.watch` socket; ENOBUFS (notices were lost) counts as a notice."""
    while True:
        try:
            watch.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue
