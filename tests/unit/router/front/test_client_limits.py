"""The count of each client's connections."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from router.front.client_limits import ClientLimit


@given(st.lists(st.integers(0, 3)))
def test_the_count_is_that_of_open_connections(steps: list[int]) -> None:
    """Each step: a connection of one of four clients; refused ones make room by closing all of that client's."""
    client_limit = ClientLimit(2)
    held: list[list[int]] = [[], [], [], []]
    for who in steps:
        fd = os.open("/dev/null", os.O_RDONLY)
        if client_limit.admit(fd, b"192.0.2.%d" % who):
            held[who].append(fd)
            assert len(held[who]) <= 2
        else:
            assert len(held[who]) == 2
            os.close(fd)
            while held[who]:
                client_limit.close(held[who].pop())
    assert client_limit.count == sum(map(len, held))
    for fd in [fd for fds in held for fd in fds]:
        client_limit.close(fd)
    assert client_limit.count == 0


def test_an_address_of_ipv6_stands_for_its_network_of_64_bits() -> None:
    client_limit = ClientLimit(1)
    assert client_limit.add(b"2001:db8::1") and not client_limit.add(b"2001:db8::ffff:2")
    assert client_limit.add(b"2001:db8:0:1::1")
    client_limit.remove(b"2001:db8::3")
    assert client_limit.add(b"2001:db8::2")
