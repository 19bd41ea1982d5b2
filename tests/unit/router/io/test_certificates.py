"""TLS to clients: which certificate, what is refused, what comes through, sessions that resume."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from harness import certificates
from harness.router import SECURE_PORT, End, Rig, SecureEnd, settle

from router.io.certificates import new_context
from router.shared import Limits

ASK = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
YES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SENT_YES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 paas-router\r\n\r\nhi"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def rig(rig: Rig, files: Path) -> Rig:
    """A router with certificates for app.test, *.app.test and old.app.test."""
    rig.serve_tls(files)
    serve(rig, files, ["app.test", "*.app.test"], ["old.app.test"])
    return rig


def serve(rig: Rig, files: Path, *groups: list[str]) -> list[str]:
    """Put a table in force with a new certificate for each of these groups of names; returns the files' names."""
    names = [certificates.put(files, *group) for group in groups]
    rig.more = {
        "certificates": [{"names": group, "file": name} for group, name in zip(groups, names, strict=True)]
    }
    rig.set_table(("i1",))
    return names


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = certificates.client_context()
    context.maximum_version = version
    context.minimum_version = version
    return context


def subject_names(client: SecureEnd) -> list[str]:
    certificate: Any = client.tls.getpeercert()
    return [name for _, name in certificate["subjectAltName"]]


def ask(rig: Rig, client: End) -> None:
    client.send(ASK)
    rig.backend.take()
    rig.backend.send(YES)
    assert client.take() == SENT_YES


# which certificate


@pytest.mark.parametrize(
    "name, expected",
    [
        ("app.test", ["app.test", "*.app.test"]),
        ("APP.Test", ["app.test", "*.app.test"]),
        ("any.app.test", ["app.test", "*.app.test"]),
        ("old.app.test", ["old.app.test"]),
    ],
)
def test_the_exact_name_comes_before_the_wildcard(rig: Rig, name: str, expected: list[str]) -> None:
    assert subject_names(rig.secure_client(name).shake()) == expected


@pytest.mark.parametrize("name", ["other.test", "a.b.app.test", "test", None])
def test_without_a_certificate_for_the_name_the_handshake_is_refused(rig: Rig, name: str | None) -> None:
    client = rig.secure_client(name)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        client.shake()
    assert client.closed
    client.close()
    assert rig.shared.clients == set()


def test_another_certificate_serves_the_next_handshake_and_leaves_open_connections_alone(
    rig: Rig, files: Path
) -> None:
    before = rig.secure_client().shake()
    first = before.tls.getpeercert(binary_form=True)
    serve(rig, files, ["app.test"])
    after = rig.secure_client().shake()
    assert after.tls.getpeercert(binary_form=True) != first
    for client in (before, after):
        ask(rig, client)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        rig.secure_client("old.app.test").shake()


def test_a_bad_certificate_refuses_its_name_and_nothing_else(
    rig: Rig, files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = certificates.put(files, "app.test")
    bad = certificates.put(files, data=b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    key = certificates.pem("x").partition(b"-----BEGIN PRIVATE")[2]
    other = certificates.put(files, data=certificates.pem("y").partition(b"-----BEGIN PRIVATE")[0] + key)
    rows = [("app.test", good), ("bad.test", bad), ("key.test", other), ("gone.test", "0" * 64 + ".pem")]
    rig.more = {"certificates": [{"names": [name], "file": file} for name, file in rows]}
    rig.set_table(("i1",))
    for name in ("bad.test", "key.test", "gone.test", "bad.test"):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            rig.secure_client(name).shake()
    ask(rig, rig.secure_client().shake())
    said = capfd.readouterr().err.splitlines()
    assert [line.split()[1] for line in said] == ["event=bad-certificate"] * 3


def test_thousands_of_names_are_loaded_when_they_are_asked_for(rig: Rig, files: Path) -> None:
    file = certificates.put(files, "*.many.test")
    rows = [{"names": [f"n{number}.many.test"], "file": f"{number:064x}.pem"} for number in range(10_000)]
    rows[7777]["file"] = file
    rig.more = {"certificates": rows}
    rig.set_table(("i1",))
    ask(rig, rig.secure_client("n7777.many.test").shake())
    with pytest.raises(ssl.SSLError):
        rig.secure_client("n7776.many.test").shake()


def test_only_so_many_certificates_are_kept(rig: Rig, files: Path) -> None:
    rig.serve_tls(files, kept=2)
    serve(rig, files, ["a.test"], ["b.test"], ["c.test"])
    clients = [rig.secure_client(f"{name}.test").shake() for name in "abcab"]
    for client in clients:
        ask(rig, client)
    assert len(rig.certificates._contexts) == 2


# what is spoken


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_refused(rig: Rig, version: ssl.TLSVersion) -> None:
    context = only(version)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    client = rig.secure_client(context=context)
    with pytest.raises(ssl.SSLError, match="VERSION"):
        client.shake()


@pytest.mark.parametrize(
    "ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"]
)
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(rig: Rig, ciphers: str) -> None:
    context = only(TLS_1_2)
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        rig.secure_client(context=context).shake()


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_handshake_may_come_in_pieces(rig: Rig, version: ssl.TLSVersion, step: int) -> None:
    ask(rig, rig.secure_client(context=only(version)).shake(step))


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_chain_longer_than_the_sockets_buffer_goes_out_in_pieces(
    rig: Rig, files: Path, version: ssl.TLSVersion
) -> None:
    certificate, separator, key = certificates.pem("app.test").partition(b"-----BEGIN PRIVATE")
    file = certificates.put(files, data=certificate * 60 + separator + key)
    rig.more = {"certificates": [{"names": ["app.test"], "file": file}]}
    rig.set_table(("i1",))
    client = rig.secure_client(context=only(version))
    [handshake] = rig.shared.clients
    small = socket.socket(fileno=handshake.fd)
    small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    small.detach()
    ask(rig, client.shake())


def test_a_protocol_is_agreed_upon(rig: Rig) -> None:
    for offered, agreed in ((["http/1.1"], "http/1.1"), (["spdy/3", "http/1.1"], "http/1.1"), (["x"], None)):
        context = certificates.client_context()
        context.set_alpn_protocols(offered)
        client = rig.secure_client(context=context).shake()
        assert client.tls.selected_alpn_protocol() == agreed
        ask(rig, client)


def test_a_client_cannot_renegotiate() -> None:
    assert new_context([]).options & ssl.OP_NO_RENEGOTIATION


def test_a_request_may_come_with_the_end_of_the_handshake(rig: Rig) -> None:
    client = rig.secure_client()
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    End.send(client, client.outgoing.read())
    client.incoming.write(client.received())
    client.tls.do_handshake()
    finished = client.outgoing.read()
    End.send(client, finished + client.seal(ASK + ASK[:10]))
    assert rig.backend.take().startswith(b"GET / HTTP/1.1\r\n")
    rig.backend.send(YES)
    assert client.take() == SENT_YES


# what the backend and the log see


def test_the_backend_and_the_log_learn_that_it_was_https(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(ASK)
    assert settle(rig.backend.take()) == (
        b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Port: %d\r\nVia: 1.1 paas-router\r\nX-Request-Start: MS\r\nX-Request-Id: ID\r\n\r\n"
        % SECURE_PORT
    )
    rig.backend.send(YES)
    assert client.take() == SENT_YES
    [entry] = rig.log()
    assert entry.scheme == b"https"


# sessions


def resumes(rig: Rig, context: ssl.SSLContext, client: SecureEnd) -> bool:
    """Whether the session of a client is taken up again by the next connection."""
    again = rig.secure_client(context=context, session=client.tls.session).shake()
    ask(rig, again)
    return bool(again.tls.session_reused)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_session_is_resumed_also_after_the_certificate_was_replaced(
    rig: Rig, files: Path, version: ssl.TLSVersion
) -> None:
    context = only(version)
    client = rig.secure_client(context=context).shake()
    ask(rig, client)
    assert resumes(rig, context, client)
    serve(rig, files, ["app.test"])
    assert resumes(rig, context, client)
    metrics = rig.shared.metrics
    assert (metrics.tls_handshakes, metrics.tls_resumptions, metrics.tls_failures) == (3, 2, 0)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_session_of_a_name_that_is_gone_is_not(rig: Rig, files: Path, version: ssl.TLSVersion) -> None:
    context = only(version)
    client = rig.secure_client(context=context).shake()
    ask(rig, client)
    serve(rig, files, ["other.test"])
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        rig.secure_client(context=context, session=client.tls.session).shake()


# what goes wrong


def test_a_slow_handshake_is_cut(rig: Rig) -> None:
    silent, slow = rig.secure_client(), rig.secure_client()
    with pytest.raises(ssl.SSLWantReadError):
        slow.tls.do_handshake()
    hello = slow.outgoing.read()
    for at in range(int(Limits().head_s) + 2):
        if not slow.closed:
            End.send(slow, hello[at : at + 1])
        rig.advance(1)
        slow.received()
    assert silent.received() == b"" and silent.closed and slow.closed
    assert rig.shared.clients == set()


@pytest.mark.parametrize("request_", [ASK, b"G", b"POST / HTTP/1.1\r\n" + b"x" * 100_000])
def test_plain_http_is_told_so(rig: Rig, request_: bytes) -> None:
    client = rig.secure_client()
    End.send(client, request_)
    answer = client.received()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"plain HTTP" in body
    assert f"Content-Length: {len(body)}".encode() in head
    assert client.closed and not client.reset
    client.finish()
    assert rig.shared.clients == set()


@pytest.mark.parametrize(
    "data", [b"\x00" * 100, b"\x16\x03\x01\x00\x05hello", b"\x16" + b"\xff" * 5000, b"\x80\x2e\x01"]
)
def test_garbage_instead_of_a_handshake_ends_the_connection(rig: Rig, data: bytes) -> None:
    client = rig.secure_client()
    End.send(client, data)
    rig.advance(int(Limits().head_s) + 2)
    client.received()
    assert client.closed
    client.close()
    assert rig.shared.clients == set()
    assert (rig.shared.metrics.tls_handshakes, rig.shared.metrics.tls_failures) == (0, 1)


@pytest.mark.parametrize("ending", ["finish", "close"])
def test_a_client_may_leave_in_the_middle_of_the_handshake(rig: Rig, ending: str) -> None:
    client = rig.secure_client()
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    End.send(client, client.outgoing.read()[:50])
    client.finish() if ending == "finish" else client.sock.close()
    rig.run()
    assert rig.shared.clients == set()
    assert rig.shared.metrics.tls_failures == 1


def test_garbage_between_records_ends_the_connection(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(ASK)
    End.send(client, b"\x17\x03\x03\x00\x20" + b"x" * 32)
    client.received()
    assert client.closed
    assert rig.shared.clients == set()
    [entry] = rig.log()
    assert entry.status == 499
    rig.backend.read()
    assert rig.backend.closed


def test_nothing_of_a_tampered_record_goes_on(rig: Rig) -> None:
    client = rig.secure_client().shake()
    record = bytearray(client.seal(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello"))
    record[-3] ^= 1
    End.send(client, bytes(record))
    assert rig.dialled == [] and rig.shared.clients == set()


def test_a_name_that_is_no_text_is_refused_quietly(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    client = rig.secure_client("abcd.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.outgoing.read()
    assert hello.count(b"abcd.test") == 1
    End.send(client, hello.replace(b"abcd.test", b"\xff\xfe\x00d.test"))
    client.received()
    assert client.closed
    assert "Traceback" not in capfd.readouterr().err
