"""The PROXY protocol, versions 1 and 2: a proxy in front of the router tells the address of its client. Pure.

https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_LINE_BYTES: Final = 107
MAX_HEADER_BYTES: Final = 4096

_PORT = rb"(?:0|[1-9][0-9]{0,4})"
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) (%b) (%b)" % (_PORT, _PORT))
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21


class BadProxyHeader(ValueError):
    """The first bytes are no header of the PROXY protocol."""


def parse(data: bytes) -> tuple[int, bytes] | None:
    """`(length of the header, client's address)`; the address is empty if the proxy speaks for itself or does not know
    it (LOCAL, UNKNOWN). None when more bytes are needed. Raises BadProxyHeader."""
    if SIGNATURE.startswith(data[:12]):
        return _parse_binary(data)
    if b"PROXY ".startswith(data[:6]):
        return _parse_line(data)
    raise BadProxyHeader("neither version")


def _parse_line(data: bytes) -> tuple[int, bytes] | None:
    end = data.find(b"\r\n", 0, MAX_LINE_BYTES)
    if end < 0:
        if len(data) >= MAX_LINE_BYTES or b"\n" in data:
            raise BadProxyHeader("no end of line")
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return end + 2, b""
    match = _LINE.fullmatch(line)
    if match is None or int(match[4]) > 65535 or int(match[5]) > 65535:
        raise BadProxyHeader("not as version 1 has it")
    kind = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        source, _ = kind(match[2].decode()), kind(match[3].decode())
    except AddressValueError as error:
        raise BadProxyHeader(str(error)) from error
    return end + 2, _text(source)


def _parse_binary(data: bytes) -> tuple[int, bytes] | None:
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise BadProxyHeader("neither LOCAL nor PROXY of version 2")
    if len(data) < 16:
        return None
    size = 16 + int.from_bytes(data[14:16], "big")
    if size > MAX_HEADER_BYTES:
        raise BadProxyHeader("too long")
    if len(data) < size:
        return None
    if data[12] == _LOCAL or data[13] == _UNSPECIFIED:
        return size, b""
    if data[13] == _TCP4 and size >= 28:
        return size, _text(IPv4Address(data[16:20]))
    if data[13] == _TCP6 and size >= 52:
        return size, _text(IPv6Address(data[16:32]))
    raise BadProxyHeader("neither TCP over IPv4 nor over IPv6")


def _text(address: IPv4Address | IPv6Address) -> bytes:
    """As a socket would give it; an IPv4 address mapped into IPv6 is given as IPv4."""
    return str(getattr(address, "ipv4_mapped", None) or address).encode()
