"""Attributes of netlink messages."""

from __future__ import annotations

from runtime.net.netlink import attribute, attributes, nested, text


def test_netlink_attributes_round_trip() -> None:
    data = text(3, "eth0") + attribute(1, b"\1\2\3") + nested(18, text(1, "veth"))
    found = attributes(data)
    assert found[3] == b"eth0\0"
    assert found[1] == b"\1\2\3"
    assert attributes(found[18]) == {1: b"veth\0"}
    assert attributes(b"\0\0\0\0garbage") == {}
