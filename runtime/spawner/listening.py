"""Listening TCP sockets of a network namespace, read from its /proc/PID/net (proc_pid_net(5))."""

from __future__ import annotations

import socket
import struct
from itertools import islice
from pathlib import Path

_LISTEN = "0A"
MOST_LINES = 4096
"""A bound, since the app decides how many sockets it has. The kernel lists listening ones first."""


def listening(net: Path) -> list[dict[str, str | int]]:
    """`{"address": …, "port": …}` of each, in order. Files that are missing (no IPv6) hold none."""
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            with open(net / name) as file:
                lines = list(islice(file, 1, MOST_LINES))
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                address, port = fields[1].split(":")
                found.append((_address(address, family), int(port, 16)))
    return [{"address": address, "port": port} for address, port in sorted(set(found))]


def _address(text: str, family: int) -> str:
    """An address from hexadecimal words of four bytes in the machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
