"""The messages of a guard, taken apart again."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from runtime.net.guard import Guard, messages
from runtime.net.netlink import attributes

GENERIC_BYTES = 4
CHAIN = 2
REFUSED = (IPv4Network("169.254.0.0/16"), IPv4Network("10.192.0.0/20"))
GUARD = Guard(REFUSED, (IPv4Address("192.0.2.53"),), ((IPv4Address("10.9.9.9"), 5432),))


def test_a_guard_is_one_batch() -> None:
    batch = messages(GUARD)
    names = [message.name for message in batch]
    # rules: notrack, loopback, answers, too many connections, two for the name server, one service, two networks
    assert names == ["begin", "new table", "new chain", "new chain", *["new rule"] * 9, "end"]
    assert [message.ack for message in batch] == [False, *[True] * 12, False]


def test_exceptions_come_before_refusals() -> None:
    rules = [message.payload for message in messages(GUARD) if message.name == "new rule"]

    def first(address: str) -> int:
        return next(n for n, rule in enumerate(rules) if IPv4Address(address).packed in rule)

    assert first("192.0.2.53") < first("10.9.9.9") < first("169.254.0.0") < first("10.192.0.0")


def test_only_the_first_rule_is_in_the_chain_before_connection_tracking() -> None:
    rules = [message.payload for message in messages(GUARD) if message.name == "new rule"]
    chains = [attributes(rule[GENERIC_BYTES:])[CHAIN] for rule in rules]
    assert chains == [b"early\0", *[b"output\0"] * 8]
