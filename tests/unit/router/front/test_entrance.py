"""Before a client's first request: what proxies say of their clients, and how many connections a client may have."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from harness import certificates
from harness.router import ADDRESS, End, Rig
from hypothesis import given
from hypothesis import strategies as st

from router.wire.proxyprotocol import MAX_HEADER_BYTES, SIGNATURE, BadProxyHeader, parse

ASK = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(body)) + body


def addresses(source: str, target: str = "", extra: bytes = b"") -> bytes:
    one, other = ip_address(source), ip_address(target or source)
    return one.packed + other.packed + b"\x30\x39\x01\xbb" + extra


VALID = [
    (b"PROXY TCP4 198.51.100.7 203.0.113.1 12345 443\r\n", b"198.51.100.7"),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", b"0.0.0.0"),
    (b"PROXY TCP6 2001:DB8::7 ::1 1 2\r\n", b"2001:db8::7"),
    (b"PROXY TCP6 ::ffff:198.51.100.7 ::ffff:203.0.113.1 1 2\r\n", b"198.51.100.7"),
    (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % ((b"ffff:" * 8)[:-1], (b"ffff:" * 8)[:-1]),
        b"ffff:" * 7 + b"ffff",
    ),
    (b"PROXY UNKNOWN\r\n", b""),
    (b"PROXY UNKNOWN anything \x00 at all\r\n", b""),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", b""),
    (v2(0x21, 0x11, addresses("198.51.100.7")), b"198.51.100.7"),
    (v2(0x21, 0x21, addresses("2001:db8::7")), b"2001:db8::7"),
    (v2(0x21, 0x21, addresses("::ffff:198.51.100.7")), b"198.51.100.7"),
    (v2(0x21, 0x11, addresses("198.51.100.7", extra=b"\x04\x00\x02ab")), b"198.51.100.7"),
    (v2(0x21, 0x11, addresses("198.51.100.7", extra=b"x" * 4000)), b"198.51.100.7"),
    (v2(0x21, 0x00, b""), b""),
    (v2(0x20, 0x00, b""), b""),
    (v2(0x20, 0x11, addresses("198.51.100.7")), b""),
    (v2(0x20, 0xFF, b"whatever"), b""),
]
INVALID = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"\n",
    b"\r\n\r\n\x00\r\nQUIT\r",
    b"PROXY\r\n",
    b"proxy TCP4 198.51.100.7 203.0.113.1 1 2\r\n",
    b"PROXY TCP5 198.51.100.7 203.0.113.1 1 2\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 1 2\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 1 2 \r\n",
    b"PROXY TCP4  198.51.100.7 203.0.113.1 1 2\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 1\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 1 65536\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 01 2\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 -1 2\r\n",
    b"PROXY TCP4 198.51.100.07 203.0.113.1 1 2\r\n",
    b"PROXY TCP4 198.51.100.256 203.0.113.1 1 2\r\n",
    b"PROXY TCP4 198.51.100 203.0.113.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
    b"PROXY TCP6 198.51.100.7 203.0.113.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY TCP4 198.51.100.7 203.0.113.1 1 2" + b" " * 80,
    v2(0x11, 0x11, addresses("198.51.100.7")),
    v2(0x22, 0x11, addresses("198.51.100.7")),
    v2(0x21, 0x11, addresses("198.51.100.7")[:-1]),
    v2(0x21, 0x21, addresses("198.51.100.7")),
    v2(0x21, 0x12, addresses("198.51.100.7")),
    v2(0x21, 0x31, b"x" * 216),
    v2(0x21, 0x11, addresses("198.51.100.7", extra=b"x" * MAX_HEADER_BYTES)),
]


@pytest.mark.parametrize(("header", "address"), VALID)
def test_a_header_is_read_up_to_its_end(header: bytes, address: bytes) -> None:
    assert parse(header) == (len(header), address)
    assert parse(header + header) == (len(header), address)


@pytest.mark.parametrize(("header", "address"), VALID)
def test_more_is_wanted_until_it_is_whole(header: bytes, address: bytes) -> None:
    assert [parse(header[:end]) for end in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize("data", INVALID)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        parse(data + ASK)


@given(
    st.one_of(
        st.binary(), st.binary().map(lambda b: b"PROXY TCP4 " + b), st.binary().map(lambda b: SIGNATURE + b)
    )
)
def test_no_bytes_are_too_strange(data: bytes) -> None:
    try:
        found = parse(data)
    except BadProxyHeader:
        return
    if found is not None:
        size, address = found
        assert 0 < size <= len(data)
        if address:
            assert str(ip_address(address.decode())).encode() == address


# connections


@pytest.fixture
def rig(rig: Rig, tmp_path: Path) -> Rig:
    """A router that wants to be told by proxies at 192.0.2.0/24 who their clients are, also where it speaks TLS."""
    rig.serve_tls(tmp_path)
    file = certificates.put(tmp_path, "app.test")
    rig.more = {"certificates": [{"names": ["app.test"], "file": file}]}
    rig.set_table(("i1",))
    rig.entrance.proxied = rig.secure_entrance.proxied = (ip_network("192.0.2.0/24"),)
    return rig


def forwarded_for(rig: Rig) -> bytes:
    """Whom the backend is told that the newest request came from."""
    _, _, rest = rig.backend.take().partition(b"\r\nX-Forwarded-For: ")
    rig.backend.send(OK)
    return rest.partition(b"\r\n")[0]


@given(st.data())
def test_it_does_not_matter_how_the_bytes_come(data: st.DataObject) -> None:
    header, address = data.draw(st.sampled_from(VALID))
    stream = header + ASK
    cuts = sorted(data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=6, unique=True)))
    rig = Rig()
    rig.entrance.proxied = (ip_network("192.0.2.0/24"),)
    client = rig.arriving()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        client.send(stream[start:end])
    assert forwarded_for(rig) == (address or ADDRESS)
    assert client.take().startswith(b"HTTP/1.1 200 OK\r\n")
    assert [entry.forwarded for entry in rig.log()] == [address or ADDRESS]
    rig.close()


@pytest.mark.parametrize("data", [*INVALID, ASK])
def test_a_proxy_that_does_not_say_it_is_cut(
    rig: Rig, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    client = rig.arriving()
    client.send(data)
    client.read()
    assert client.closed and client.got == b""
    assert rig.dialled == [] and rig.shared.clients == set()
    assert capfd.readouterr().err.startswith("router event=bad-preface address=192.0.2.7 error=")


def test_a_proxy_that_says_nothing_is_cut(rig: Rig) -> None:
    clients = [rig.arriving(), rig.arriving(), rig.arriving()]
    clients[1].send(b"PROXY TCP4 ")
    clients[2].finish()
    assert len(rig.shared.clients) == 2
    rig.advance(rig.shared.limits.head_s + 2)
    assert rig.shared.clients == set()


def test_others_need_no_header_and_are_not_believed(rig: Rig) -> None:
    client = rig.arriving(b"203.0.113.9")
    client.send(ASK)
    assert forwarded_for(rig) == b"203.0.113.9"
    other = rig.arriving(b"203.0.113.9")
    other.send(VALID[0][0] + ASK)
    assert other.take().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_the_header_comes_before_tls(rig: Rig, step: int) -> None:
    client = rig.secure_client()
    header = VALID[0][0]
    for at in range(0, len(header), step):
        End.send(client, header[at : at + step])
    client.shake(step)
    client.send(ASK)
    assert forwarded_for(rig) == b"198.51.100.7"


def test_allow_lists_and_trust_look_at_the_address_that_was_given(rig: Rig) -> None:
    rig.set_table(("i1",), allow=["198.51.100.0/24"])
    rig.shared.trusted = (ip_network("192.0.2.0/24"),)
    spoofed = ASK[:-2] + b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\r\n"
    client = rig.arriving()
    client.send(VALID[0][0] + spoofed)
    assert b"\r\nX-Forwarded-Proto: http\r\n" in rig.backend.take()
    refused = rig.arriving()
    refused.send(b"PROXY TCP4 203.0.113.9 203.0.113.1 1 2\r\n" + ASK)
    assert refused.take().startswith(b"HTTP/1.1 403 ")


# how many


def count(rig: Rig, address: bytes, wanted: int) -> list[End]:
    """So many new connections from this address, of which the last ones may have been refused."""
    clients = [rig.arriving(address) for _ in range(wanted)]
    for client in clients:
        client.read()
    return clients


def test_a_client_may_have_so_many_connections(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    rig.limit_clients(3)
    clients = count(rig, b"203.0.113.9", 5)
    assert [client.closed for client in clients] == [False] * 3 + [True] * 2
    assert rig.shared.metrics.turned_away == 2
    assert not any(client.closed for client in count(rig, b"203.0.113.10", 3))
    clients[0].close()
    assert [client.closed for client in count(rig, b"203.0.113.9", 2)] == [False, True]
    assert capfd.readouterr().err == "router event=client-limit address=203.0.113.9 refused=1\n"


def test_connections_of_a_network_of_ipv6_count_together(rig: Rig) -> None:
    rig.limit_clients(2)
    clients = [rig.arriving(b"2001:db8:0:1:%x::1" % number) for number in range(3)]
    for client in clients:
        client.read()
    assert [client.closed for client in clients] == [False, False, True]
    assert not count(rig, b"2001:db8:0:2::1", 1)[0].closed


def test_trusted_proxies_may_have_any_number(rig: Rig) -> None:
    rig.limit_clients(1)
    rig.shared.trusted = (ip_network("203.0.113.0/24"),)
    assert not any(client.closed for client in count(rig, b"203.0.113.9", 5))


def test_behind_a_proxy_each_client_is_counted(rig: Rig) -> None:
    rig.limit_clients(1)
    clients = []
    for source in (b"198.51.100.1", b"198.51.100.2", b"198.51.100.1"):
        clients.append(rig.arriving())
        clients[-1].send(b"PROXY TCP4 %b 203.0.113.1 1 2\r\n" % source)
        clients[-1].read()
    assert [client.closed for client in clients] == [False, False, True]


def test_every_way_to_end_frees_the_place(rig: Rig) -> None:
    client_limit = rig.limit_clients(1)
    for number in range(6):
        client = rig.secure_client(address=b"203.0.113.9")
        if number == 0:
            client.close()
        elif number == 1:
            End.send(client, ASK)
            client.received()
            client.close()
        elif number == 2:
            rig.advance(rig.shared.limits.head_s + 2)
        else:
            client.shake()
            client.send(ASK)
            if number == 3:
                client.close()
            elif number == 4:
                rig.backend.crash()
                client.take()
                client.close()
            else:
                rig.backend.take()
                rig.backend.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                rig.backend.close()
                client.close()
        assert client_limit.count == 0, number
