"""The packet rules of one platform as text for nft, each time applied in one transaction.

The interface that a packet enters or leaves by decides: from an interface of the platform (outbound, or to the host), or
to one. Only answers, name servers and elements of `allow` pass before the refusals. Packets of the host to an instance
that is gone are refused too: the default route would carry them to some other host.

nft runs as a process, which takes about 2 ms; its library would cost the spawner 2 MB for good.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

REFUSED = (IPv4Network("169.254.0.0/16"), IPv4Network("100.100.100.200/32"))
"""Link-local and the clouds' metadata services."""

MOST_CONNECTIONS = 4096
"""Per instance, in the host's table of connections, which all share. Closing connections are not counted."""

_COUNTED = "connections"
_NFT_TIMEOUT_S = 30
_TEMPLATE = """\
table inet {table}
delete table inet {table}
table inet {table} {{
\tset nameservers {{
\t\ttype ipv4_addr{nameservers}
\t}}
\tset allow {{
\t\ttype ipv4_addr . ipv4_addr . inet_service{allow}
\t}}
\tset {counted} {{
\t\ttype ipv4_addr
\t\tsize 65536
\t\tflags dynamic
\t}}
\tchain forward {{
\t\ttype filter hook forward priority filter - 5; policy accept;
\t\tiifname "{prefix}*" jump outbound
\t\toifname "{prefix}*" jump inbound
\t}}
\tchain input {{
\t\ttype filter hook input priority filter - 5; policy accept;
\t\tiifname "{prefix}*" jump to_host
\t}}
\tchain outbound {{
\t\tmeta nfproto ipv6 drop
\t\tfib saddr . iif oif missing drop
\t\tct state established,related accept
\t\tct state invalid drop
\t\tadd @{counted} {{ ip saddr ct count over {most} }} reject with icmp admin-prohibited
\t\tip daddr @nameservers meta l4proto {{ tcp, udp }} th dport 53 accept
\t\tip saddr . ip daddr . th dport @allow accept
\t\tip daddr {{ {refused} }} reject with icmp admin-prohibited
\t\tip daddr {network} reject with icmp admin-prohibited
\t\toifname "{prefix}*" reject with icmp admin-prohibited
\t}}
\tchain inbound {{
\t\tct state established,related accept
\t\treject with icmpx admin-prohibited
\t}}
\tchain to_host {{
\t\tmeta nfproto ipv6 drop
\t\tfib saddr . iif oif missing drop
\t\tct state established,related accept
\t\tadd @{counted} {{ ip saddr ct count over {most} }} reject with icmp admin-prohibited
\t\tip daddr @nameservers meta l4proto {{ tcp, udp }} th dport 53 accept
\t\treject with icmp admin-prohibited
\t}}
\tchain output {{
\t\ttype filter hook output priority filter - 5; policy accept;
\t\tip daddr {network} oifname != "{prefix}*" oifname != "lo" jump gone
\t}}
\tchain gone {{
\t\tmeta l4proto tcp reject with tcp reset
\t\treject with icmp host-unreachable
\t}}
\tchain postrouting {{
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tip saddr {network} oifname != "{prefix}*" masquerade
\t}}
}}
"""

Allowed = tuple[IPv4Address, IPv4Address, int]
"""Source, destination, port."""


class RulesError(Exception):
    """nft refused; the message is what it printed."""


def table_name(platform_id: str) -> str:
    return f"paas_{platform_id}"


def ruleset(
    platform_id: str,
    prefix: str,
    network: IPv4Network,
    *,
    nameservers: Iterable[IPv4Address],
    allow: Iterable[Allowed],
) -> str:
    """The whole table, replacing whatever it holds."""
    return _TEMPLATE.format(
        table=table_name(platform_id),
        prefix=prefix,
        network=network,
        counted=_COUNTED,
        most=MOST_CONNECTIONS,
        refused=", ".join(str(item) for item in REFUSED),
        nameservers=_elements(str(item) for item in nameservers),
        allow=_elements(f"{source} . {target} . {port}" for source, target, port in allow),
    )


def _elements(items: Iterable[str]) -> str:
    text = ", ".join(sorted(set(items)))
    return f"\n\t\telements = {{ {text} }}" if text else ""


def apply(text: str) -> None:
    """Give a ruleset to nft, all or nothing. Raises RulesError."""
    _nft(["-f", "-"], text)


def show(platform_id: str) -> str | None:
    """The table as nft prints it, without the counted elements; None if there is no table."""
    try:
        text = _nft(["list", "table", "inet", table_name(platform_id)])
    except RulesError:
        return None
    return re.sub(rf"(set {_COUNTED} {{[^}}]*?)\n\s*elements = {{[^}}]*}}", r"\1", text)


def remove(platform_id: str) -> None:
    """Remove the table; does nothing if there is none."""
    name = table_name(platform_id)
    apply(f"table inet {name}\ndelete table inet {name}\n")


def _nft(words: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            ["nft", *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=_NFT_TIMEOUT_S,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise RulesError("nft is not installed: install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise RulesError(f"nft did not finish in {_NFT_TIMEOUT_S} s") from error
    if done.returncode:
        raise RulesError(done.stderr.strip() or f"nft ended with status {done.returncode}")
    return done.stdout
