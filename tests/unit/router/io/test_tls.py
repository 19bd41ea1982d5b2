"""One connection's encryption in memory, the test's end being a client of the standard library."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from harness import certificates

from router.io.tls import PART_BYTES, RECORD_BYTES, Secure


class Client:
    """The other end; `said` takes what it has to send."""

    def __init__(self, *protocols: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = certificates.client_context()
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="app.test")

    def said(self) -> bytes:
        return self.outgoing.read()

    def write(self, data: bytes) -> bytes:
        for at in range(0, len(data), RECORD_BYTES):
            self.tls.write(data[at : at + RECORD_BYTES])
        return self.said()

    def read(self, data: bytes) -> bytes:
        self.incoming.write(data)
        found = b""
        try:
            while part := self.tls.read(65536):
                found += part
        except ssl.SSLWantReadError:
            pass
        return found

    def shake(self, secure: Secure, step: int = 1 << 20) -> None:
        done = False
        while not done:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            data = self.said()
            for at in range(0, len(data), step):
                secure.shake(data[at : at + step])
            self.incoming.write(secure.replies())


@pytest.fixture
def secure(tmp_path: Path) -> Secure:
    name = certificates.put(tmp_path, "app.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificates" / name)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return Secure(context)


def connected(secure: Secure, *protocols: str) -> Client:
    client = Client(*protocols)
    client.shake(secure)
    return client


@pytest.mark.parametrize("step", [1, 100, 1 << 20])
def test_a_handshake_may_come_in_pieces(secure: Secure, step: int) -> None:
    client = Client("h2")
    assert not secure.shake(b"") and secure.replies() == b""
    client.shake(secure, step)
    assert secure.protocol == "h2" and not secure.resumed
    assert secure.open(client.write(b"hello")) == b"hello"


def test_without_a_word_on_protocols_there_is_none(secure: Secure) -> None:
    connected(secure)
    assert secure.protocol is None


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 100])
def test_what_is_no_handshake_is_refused_with_an_alert(secure: Secure, data: bytes) -> None:
    with pytest.raises(ssl.SSLError):
        secure.shake(data)
    alert = secure.replies()
    assert alert == b"" or alert[0] == 21
    assert secure.replies() == b""


@pytest.mark.parametrize("size", [0, 1, RECORD_BYTES, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES + 7])
def test_bytes_of_any_size_arrive_whole_both_ways(secure: Secure, size: int) -> None:
    client = connected(secure)
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert secure.open(client.write(data)) == data
    records = secure.seal(memoryview(data))
    assert client.read(b"".join(records)) == data
    assert all(len(one) < PART_BYTES + 1000 for one in records), "no buffer holds more than a part"


def test_a_record_in_pieces_is_kept_until_it_is_whole(secure: Secure) -> None:
    client = connected(secure)
    record = client.write(b"hello")
    assert [secure.open(record[at : at + 1]) for at in range(len(record))] == [b""] * (len(record) - 1) + [
        b"hello"
    ]


def test_what_was_changed_on_the_way_is_refused(secure: Secure) -> None:
    record = bytearray(connected(secure).write(b"hello"))
    record[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        secure.open(bytes(record))


def test_after_the_clients_goodbye_nothing_more_is_read(secure: Secure) -> None:
    client = connected(secure)
    last = client.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    assert secure.open(last + client.said()) == b"last" and secure.ended
    assert secure.open(b"anything at all") == b""
    assert client.read(b"".join(secure.seal(b"the rest of an answer"))) == b"the rest of an answer"


def test_a_goodbye_is_said_once_and_ends_the_reading_of_the_client(secure: Secure) -> None:
    client = connected(secure)
    goodbye = secure.goodbye()
    assert goodbye and secure.goodbye() == b"" and not secure.ended
    client.incoming.write(goodbye)
    with pytest.raises(ssl.SSLZeroReturnError):
        while client.tls.read(100):
            raise AssertionError("nothing was sent")
        raise ssl.SSLZeroReturnError
