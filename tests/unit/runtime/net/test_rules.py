"""The ruleset of a platform as text."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from runtime.net import rules


def test_the_ruleset_names_only_this_platform() -> None:
    text = rules.ruleset(
        "abcdef",
        "pabcdef-",
        IPv4Network("10.192.0.0/20"),
        nameservers=[IPv4Address("192.0.2.53")],
        allow=[(IPv4Address("10.192.0.2"), IPv4Address("10.192.0.3"), 5432)],
    )
    assert text.startswith("table inet paas_abcdef\ndelete table inet paas_abcdef\n")
    assert "elements = { 10.192.0.2 . 10.192.0.3 . 5432 }" in text
    assert text.index("@nameservers meta") < text.index("169.254.0.0/16")
