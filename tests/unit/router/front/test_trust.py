"""Proxies before the router that are trusted, and everybody else."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from harness.router import Rig

ASK = (
    b"GET /x HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 198.51.100.9\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Port: 443\r\nX-Forwarded-Host: shop.test\r\nX-Real-IP: 1.1.1.1\r\n\r\n"
)


def forwarded(rig: Rig, request: bytes = ASK) -> list[bytes]:
    client = rig.client()
    client.send(request)
    return [
        line for line in rig.backend.take().split(b"\r\n") if line.startswith((b"X-Forwarded", b"X-Real"))
    ]


def test_what_a_trusted_proxy_says_is_believed(rig: Rig) -> None:
    rig.shared.trusted = (ip_network("192.0.2.0/24"),)
    assert forwarded(rig) == [
        b"X-Forwarded-Host: shop.test",
        b"X-Forwarded-For: 198.51.100.9, 192.0.2.7",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Port: 443",
    ]


def test_what_others_say_is_not(rig: Rig) -> None:
    rig.shared.trusted = (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32"))
    assert forwarded(rig) == [
        b"X-Forwarded-For: 198.51.100.9, 192.0.2.7",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Port: 8080",
    ]


@pytest.mark.parametrize(
    "line", [b"X-Forwarded-Proto: gopher", b"X-Forwarded-Port: 4\xb2", b"X-Forwarded-Port: 123456"]
)
def test_nonsense_of_a_trusted_proxy_is_dropped(rig: Rig, line: bytes) -> None:
    rig.shared.trusted = (ip_network("192.0.2.0/24"),)
    assert forwarded(rig, b"GET /x HTTP/1.1\r\nHost: app.test\r\n" + line + b"\r\n\r\n") == [
        b"X-Forwarded-For: 192.0.2.7",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Port: 8080",
    ]


@pytest.mark.parametrize(("network", "status"), [("198.51.100.0/24", b"200"), ("192.0.2.0/24", b"403")])
def test_networks_are_those_of_the_client_behind_a_trusted_proxy(
    rig: Rig, network: str, status: bytes
) -> None:
    rig.shared.trusted = (ip_network("192.0.2.0/24"),)
    rig.set_table(("i1",), allow=[network])
    client = rig.client()
    client.send(ASK)
    if rig.dialled:
        rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.read().startswith(b"HTTP/1.1 " + status)


def test_a_redirect_keeps_the_scheme_of_the_client(rig: Rig) -> None:
    rig.shared.trusted = (ip_network("192.0.2.0/24"),)
    rig.set_table(("i1",), canonical_host="www.app.test")
    client = rig.client()
    client.send(ASK)
    assert b"\r\nLocation: https://www.app.test/x\r\n" in client.read()
