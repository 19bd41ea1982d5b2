"""What the operator says of the router's front: who may speak for others, how many connections, no HTTPS."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest
from harness.platform import Platform, wait_for

MOST = 5


@pytest.fixture(scope="module")
def platform(platform_settings: dict[str, str]) -> Iterator[Platform]:
    running = Platform(**platform_settings)
    try:
        running.start()
        running.paas("create", "blank")
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def platform_settings() -> dict[str, str]:
    return {
        "https": "off",
        "trust": "127.0.0.2, 10.0.0.0/8",
        "proxy_protocol": "127.0.0.3",
        "client_connections": str(MOST),
        "router_workers": "1",
    }


def ask(
    platform: Platform, path: str, *, source: str, before: bytes = b"", head: str = ""
) -> tuple[str, str]:
    """Ask from an address of this machine; the status, and who the access log says it was for."""
    with socket.create_connection(("127.0.0.1", platform.http), 10, (source, 0)) as sock:
        request = f"GET {path} HTTP/1.1\r\nHost: blank.localhost\r\n{head}Connection: close\r\n\r\n"
        sock.sendall(before + request.encode())
        answer = sock.recv(4096)
        while sock.recv(4096):
            pass

    def line() -> str | None:
        found = re.search(rf'path="{path}".* fwd="([^"]*)"', platform.paas("logs", "-a", "blank").stdout)
        return found[1] if found else None

    return answer[9:12].decode(), str(wait_for(line))


def test_only_trusted_proxies_say_who_their_clients_are(platform: Platform) -> None:
    platform.paas("allow:add", "203.0.113.0/24", "-a", "blank")
    head = "X-Forwarded-For: 203.0.113.9\r\n"
    assert ask(platform, "/trusted", source="127.0.0.2", head=head) == ("503", "203.0.113.9, 127.0.0.2")
    assert ask(platform, "/untrusted", source="127.0.0.1", head=head)[0] == "403"
    platform.paas("allow:remove", "203.0.113.0/24", "-a", "blank")


def test_a_proxy_header_is_read_from_its_networks(platform: Platform) -> None:
    line = b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 80\r\n"
    assert ask(platform, "/proxied", source="127.0.0.3", before=line) == ("503", "198.51.100.7")


def test_one_address_has_so_many_connections_and_others_go_on(platform: Platform) -> None:
    with contextlib.ExitStack() as opened:
        socks = [
            opened.enter_context(socket.create_connection(("127.0.0.1", platform.http), 10, ("127.0.0.9", 0)))
            for _ in range(MOST + 1)
        ]
        for sock in socks[:MOST]:
            sock.sendall(b"GET /many HTTP/1.1\r\nHost: blank.localhost\r\n\r\n")
            assert sock.recv(12).startswith(b"HTTP/1.1 ")
        with contextlib.suppress(ConnectionError):
            socks[MOST].sendall(b"GET /many HTTP/1.1\r\nHost: blank.localhost\r\n\r\n")
            assert not socks[MOST].recv(12).startswith(b"HTTP/1.1 2")
        assert ask(platform, "/others", source="127.0.0.1")


def test_without_https_nothing_listens_for_it(platform: Platform) -> None:
    assert "https" not in platform.paas("server:status").stdout
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", platform.https), 5)
