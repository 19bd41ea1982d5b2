"""The second wall: an nftables table in the namespace of each instance.

Flushing the host's rules does not flush these, and the app has no capability to change them. They refuse at the source
what the host refuses, and keep the namespace's table of connections small; connections of the app to itself stay out of
that table. Pure: builds netlink messages. Source: linux/netfilter/nf_tables.h.

The messages are made here and not by libnftables, which was measured: it adds 2 MB to the spawner for good, and takes
1.3 ms longer in each instance's child than sending messages that are made before the fork.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from runtime.net.netlink import F_APPEND, F_CREATE, Message, attribute, be32, nested, text
from runtime.net.rules import MOST_CONNECTIONS

TABLE = "paas"
_CHAIN, _EARLY_CHAIN = "output", "early"
_BEFORE_TRACKING = -300
_IPV4, _SUBSYSTEM = 2, 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_SUBSYSTEM << 8 | number for number in (0, 3, 6))
_LOCAL_OUT, _ACCEPT = 3, 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_EQUAL, _NOT_EQUAL = 0, 1
_META_OIF, _META_L4PROTO, _CT_STATE = 5, 16, 0
_ESTABLISHED_OR_RELATED = 0x2 | 0x4
_ADMIN_PROHIBITED = 13
_OVER = 1
_REGISTER = 1
_LOOPBACK_INDEX = 1
_TCP, _UDP = 6, 17
_DNS = 53


@dataclass(frozen=True)
class Guard:
    """The networks that one instance must not reach, except for its name servers and allowed services."""

    refused: tuple[IPv4Network, ...]
    nameservers: tuple[IPv4Address, ...]
    allowed: tuple[tuple[IPv4Address, int], ...] = ()


@lru_cache(maxsize=16)
def messages(guard: Guard) -> tuple[Message, ...]:
    """One netfilter batch: it makes the whole table or nothing. Most instances have equal guards, so it is kept."""
    batch = [
        Message(_BATCH_BEGIN, _generic(0, _SUBSYSTEM), name="begin", ack=False),
        Message(_NEW_TABLE, _generic(_IPV4) + text(1, TABLE), F_CREATE, name="new table"),
        _chain(_EARLY_CHAIN, _BEFORE_TRACKING),
        _chain(_CHAIN, 0),
        _rule([*_output_is_loopback(), nested(1, text(1, "notrack"))], _EARLY_CHAIN),
    ]
    batch += [_rule(expressions) for expressions in _rules(guard)]
    return (*batch, Message(_BATCH_END, _generic(0, _SUBSYSTEM), name="end", ack=False))


def _rules(guard: Guard) -> Iterable[list[bytes]]:
    yield [*_output_is_loopback(), _accept()]
    yield [*_is_answer(), _accept()]
    yield [_expression("connlimit", be32(1, MOST_CONNECTIONS) + be32(2, _OVER)), _reject()]
    for server in guard.nameservers:
        for protocol in (_UDP, _TCP):
            yield [*_goes_to(IPv4Network(server)), *_port(protocol, _DNS), _accept()]
    for address, port in guard.allowed:
        yield [*_goes_to(IPv4Network(address)), *_port(_TCP, port), _accept()]
    for network in guard.refused:
        yield [*_goes_to(network), _reject()]


def _generic(family: int, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _chain(name: str, priority: int) -> Message:
    hook = nested(4, be32(1, _LOCAL_OUT), be32(2, priority & 0xFFFFFFFF))
    chain = text(1, TABLE) + text(3, name) + hook + be32(5, _ACCEPT) + text(7, "filter")
    return Message(_NEW_CHAIN, _generic(_IPV4) + chain, F_CREATE, name="new chain")


def _rule(expressions: list[bytes], chain: str = _CHAIN) -> Message:
    payload = _generic(_IPV4) + text(1, TABLE) + text(2, chain) + nested(4, *expressions)
    return Message(_NEW_RULE, payload, F_CREATE | F_APPEND, name="new rule")


def _expression(name: str, data: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, data))


def _compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", be32(1, _REGISTER) + be32(2, operator) + nested(3, attribute(1, value)))


def _mask(mask: bytes) -> bytes:
    data = be32(1, _REGISTER) + be32(2, _REGISTER) + be32(3, len(mask))
    return _expression(
        "bitwise", data + nested(4, attribute(1, mask)) + nested(5, attribute(1, bytes(len(mask))))
    )


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", be32(1, _REGISTER) + be32(2, base) + be32(3, offset) + be32(4, length))


def _reject() -> bytes:
    return _expression("reject", be32(1, 0) + attribute(2, bytes([_ADMIN_PROHIBITED])))


def _accept() -> bytes:
    return _expression("immediate", be32(1, 0) + nested(2, nested(2, be32(1, _ACCEPT))))


def _goes_to(network: IPv4Network) -> list[bytes]:
    mask = [] if network.prefixlen == 32 else [_mask(network.netmask.packed)]
    return [_payload(_NETWORK_HEADER, 16, 4), *mask, _compare(_EQUAL, network.network_address.packed)]


def _port(protocol: int, port: int) -> list[bytes]:
    return [
        _expression("meta", be32(1, _REGISTER) + be32(2, _META_L4PROTO)),
        _compare(_EQUAL, bytes([protocol])),
        _payload(_TRANSPORT_HEADER, 2, 2),
        _compare(_EQUAL, struct.pack(">H", port)),
    ]


def _is_answer() -> list[bytes]:
    return [
        _expression("ct", be32(1, _REGISTER) + be32(2, _CT_STATE)),
        _mask(struct.pack("=I", _ESTABLISHED_OR_RELATED)),
        _compare(_NOT_EQUAL, bytes(4)),
    ]


def _output_is_loopback() -> list[bytes]:
    return [
        _expression("meta", be32(1, _REGISTER) + be32(2, _META_OIF)),
        _compare(_EQUAL, struct.pack("=I", _LOOPBACK_INDEX)),
    ]
