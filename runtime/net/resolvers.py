"""The name servers of instances: those of the host that can be reached from elsewhere, never a stub on its loopback."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

CANDIDATES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_MOST = 3
"""The C library uses no more (resolv.conf(5))."""


def parse(content: str) -> list[IPv4Address | IPv6Address]:
    """The addresses of the `nameserver` lines in a resolv.conf; malformed ones are skipped, as in the C library."""
    found: list[IPv4Address | IPv6Address] = []
    for line in content.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(ip_address(words[1].partition("%")[0]))
            except ValueError:
                continue
    return found


def upstream(candidates: tuple[Path, ...] = CANDIDATES) -> list[IPv4Address]:
    """IPv4 name servers that instances can reach; empty if the host has only loopback or IPv6 ones."""
    for path in candidates:
        usable = [
            address
            for address in parse(_content(path))
            if isinstance(address, IPv4Address) and not address.is_loopback and not address.is_unspecified
        ]
        if usable:
            return usable[:_MOST]
    return []


def local(candidates: tuple[Path, ...] = CANDIDATES) -> list[IPv4Address | IPv6Address]:
    """The name servers that the host itself uses, for the relay."""
    for path in candidates:
        found = parse(_content(path))
        if found:
            return found[:_MOST]
    return [ip_address("127.0.0.1")]


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
