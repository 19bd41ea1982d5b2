"""Redirects to HTTPS, HSTS, and what an ACME server is told over plain HTTP."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from harness import certificates
from harness.router import End, Rig
from hypothesis import given
from hypothesis import strategies as st

from router.rules.tablefile import TableError, parse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HSTS = b"\r\nStrict-Transport-Security: max-age=3600\r\n"


@pytest.fixture
def rig(rig: Rig, tmp_path: Path) -> Rig:
    """A router with a certificate for app.test."""
    rig.serve_tls(tmp_path)
    file = certificates.put(tmp_path, "app.test")
    rig.more = {"certificates": [{"names": ["app.test"], "file": file}], "https_port": 8443}
    return rig


def answer(rig: Rig, client: End, request: bytes = b"GET /a?b HTTP/1.1\r\nHost: app.test\r\n\r\n") -> bytes:
    """What the client gets when the backend, if it is asked, says ok."""
    client.send(request)
    for end in rig.dialled:
        if end.take():
            end.send(OK)
    got: bytes = client.take()
    client.close()
    return got


def request(method: str, lines: str = "", host: str = "app.test") -> bytes:
    return f"{method} /a?b HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode()


@pytest.mark.parametrize(("method", "status"), [("GET", b"301"), ("HEAD", b"301"), ("POST", b"308")])
@pytest.mark.parametrize(("port", "origin"), [(8443, b"app.test:8443"), (443, b"app.test"), (0, b"app.test")])
def test_plain_requests_are_sent_to_https(
    rig: Rig, method: str, status: bytes, port: int, origin: bytes
) -> None:
    rig.more["https_port"] = port
    rig.set_table(("i1",), https_redirect=True, maintenance=True, basic_auth={})
    got = answer(rig, rig.client(), request(method))
    assert got.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nLocation: https://%b/a?b\r\n" % origin in got
    assert rig.dialled == []


def test_one_redirect_goes_to_the_canonical_host_and_to_https(rig: Rig) -> None:
    rig.set_table(("i1",), https_redirect=True, canonical_host="www.app.test")
    assert b"\r\nLocation: https://www.app.test:8443/a?b\r\n" in answer(rig, rig.client())
    secure = answer(rig, rig.secure_client().shake())
    assert b"\r\nLocation: https://www.app.test:8443/a?b\r\n" in secure


def test_requests_over_tls_are_not_redirected(rig: Rig) -> None:
    rig.set_table(("i1",), https_redirect=True)
    assert answer(rig, rig.secure_client().shake()).endswith(b"\r\n\r\nok")


def test_without_a_host_there_is_no_redirect(rig: Rig) -> None:
    rig.set_table(("i1",), https_redirect=True)
    got = answer(rig, rig.client(), b"GET http:///a HTTP/1.1\r\nHost:\r\n\r\n")
    assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


def test_addresses_that_are_not_allowed_are_refused_before_that(rig: Rig) -> None:
    rig.set_table(("i1",), https_redirect=True, allow=["198.51.100.0/24"])
    assert answer(rig, rig.client()).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(("scheme", "redirected"), [("http", True), ("https", False)])
def test_a_trusted_proxy_says_what_the_client_spoke(rig: Rig, scheme: str, redirected: bool) -> None:
    rig.set_table(("i1",), https_redirect=True, hsts_s=3600)
    asked = request("GET", f"X-Forwarded-Proto: {scheme}\r\n")
    assert b"\r\nLocation: https://app.test:8443/" in answer(rig, rig.client(), asked)
    rig.shared.trusted = (ip_network("192.0.2.0/24"),)
    got = answer(rig, rig.client(), asked)
    assert (b"\r\nLocation: https://app.test/a?b\r\n" in got) is redirected
    assert (HSTS in got) is not redirected


def test_hsts_is_said_over_tls_only_and_by_every_response(rig: Rig) -> None:
    rig.set_table(("i1",), hsts_s=3600)
    assert HSTS not in answer(rig, rig.client())
    assert HSTS in answer(rig, rig.secure_client().shake())
    rig.set_table((), hsts_s=3600)
    got = answer(rig, rig.secure_client().shake())
    assert got.startswith(b"HTTP/1.1 503 ") and HSTS in got
    rig.set_table(("i1",), hsts_s=3600, maintenance=True, sticky="s")
    assert HSTS in answer(rig, rig.secure_client().shake())
    rig.set_table(("i1",), hsts_s=3600, sticky="s")
    got = answer(rig, rig.secure_client().shake())
    assert HSTS in got and b"\r\nSet-Cookie: paas_affinity=" in got


# ACME

PATH = "/.well-known/acme-challenge/"
CHALLENGES = {"app.test": {"t0-K_e": "t0-K_e.th_umb"}, "new.test": {"a": "a.b", "c": "c.d"}}


def ask(host: str, path: str, method: str = "GET", lines: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode()


@pytest.mark.parametrize(
    ("host", "token", "text"),
    [("app.test", "t0-K_e", b"t0-K_e.th_umb"), ("new.test", "a", b"a.b"), ("NEW.test:80", "c", b"c.d")],
)
def test_challenges_are_answered_before_routes_and_policies(
    rig: Rig, host: str, token: str, text: bytes
) -> None:
    rig.more["challenges"] = CHALLENGES
    rig.set_table(
        ("i1",), https_redirect=True, maintenance=True, allow=["203.0.113.1"], canonical_host="x.test"
    )
    client = rig.client()
    client.send(ask(host, PATH + token) * 2)
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
        len(text),
        text,
    )
    assert client.take() == answer * 2
    assert [(e.status, e.body_bytes) for e in rig.log()] == [(200, len(text))] * 2
    client.send(ask(host, PATH + token, "HEAD"))
    assert client.take() == answer[: -len(text)]
    client.send(ask(host, PATH + token, lines="Connection: close\r\n"))
    assert b"\r\nConnection: close\r\n" in client.take() and client.closed
    assert rig.dialled == []


def test_other_paths_and_hosts_go_where_they_went(rig: Rig) -> None:
    rig.more["challenges"] = CHALLENGES
    rig.set_table(("i1",))
    assert answer(rig, rig.client(), ask("app.test", "/")).endswith(b"ok")
    assert answer(rig, rig.client(), ask("app.test", PATH + "unknown")).endswith(b"ok")
    assert answer(rig, rig.client(), ask("app.test", PATH + "t0-K_e2")).endswith(b"ok")
    assert answer(rig, rig.client(), ask("new.test", "/")).startswith(b"HTTP/1.1 404 ")
    assert answer(rig, rig.client(), ask("third.test", PATH + "a")).startswith(b"HTTP/1.1 404 ")
    del rig.more["challenges"]
    rig.set_table(("i1",))
    assert answer(rig, rig.client(), ask("app.test", PATH + "t0-K_e")).endswith(b"ok")


def test_a_challenge_leaves_wildcard_routes_to_the_host() -> None:
    routes = [{"host": host, "app": host} for host in ("*.app.test", "*", "b.app.test")]
    for host, app in (("a.app.test", "*.app.test"), ("x.test", "*"), ("b.app.test", "b.app.test")):
        document = {"generation": 1, "routes": routes, "challenges": {host: {"t": "t.k"}}}
        table = parse(document, {})
        found = table.lookup(host.encode(), b"/")
        assert found is not None and found.app == app
        challenge = table.lookup(host.encode(), PATH.encode() + b"t")
        assert challenge is not None and challenge.policy is not None
        assert challenge.policy.challenge == b"t.k"


# what a table may say

BAD: list[dict[str, Any]] = [
    {"certificates": {}},
    {"certificates": [{"names": ["a"]}]},
    {"certificates": [{"names": ["a"], "file": "../key.pem"}]},
    {"certificates": [{"names": "a", "file": "0.pem"}]},
    {"challenges": []},
    {"challenges": {"a": {"/": "x"}}},
    {"challenges": {"a": {"t": "x\r\ny"}}},
    {"challenges": {"a": {"t": 1}}},
    {"challenges": {"a": "t"}},
    {"https_port": 65536},
    {"https_port": "443"},
]


@pytest.mark.parametrize("part", BAD)
def test_a_table_that_says_something_else_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(TableError):
        parse({"generation": 1} | part, {})


@given(st.text(alphabet="ab.*-", max_size=12))
def test_a_name_has_the_certificate_of_itself_or_of_its_first_label(name: str) -> None:
    entries = [{"names": ["a.b", "*.a.b"], "file": "1.pem"}, {"names": ["b.a.b"], "file": "2.pem"}]
    table = parse({"generation": 1, "certificates": entries}, {})
    _, _, rest = name.partition(".")
    expected = {"a.b": "1.pem", "b.a.b": "2.pem", "*.a.b": "1.pem"}.get(name)
    assert table.certificate(name) == (expected or ("1.pem" if rest == "a.b" else None))
